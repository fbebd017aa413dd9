package simulator

import "slices"

// Unit is one organization in Enhetsregisteret.
type Unit struct {
	Orgnr string `json:"orgnr"`
	Name  string `json:"name"`
	// Parent is the unit directly above; "" = a top-level unit.
	Parent string `json:"parent"`
	// Form is the code of the organization form; ORGL is a link between a
	// top-level unit and its sub-units.
	Form string `json:"form"`
	// SubUnit says that the unit is among underenheter, where nothing hangs below.
	SubUnit bool `json:"sub_unit"`
	// Deleted is the date (2024-06-30) on which the unit was struck off; "" = it
	// was not. Removed units are not shown any more, for legal reasons.
	Deleted string `json:"deleted"`
	Removed bool   `json:"removed"`
}

// The units of the default world that are there to be found fault with. All have
// a valid check digit.
const (
	StruckOffUnit    = "341000017" // top-level, struck off
	RemovedUnit      = "341000025" // top-level, removed
	StruckOffSubUnit = "341000033" // sub-unit of 100100126, struck off
	// WardUnit is a sub-unit two levels below MunicipalityUnit, with
	// DepartmentUnit (an organisasjonsledd) between.
	MunicipalityUnit = "341000041"
	DepartmentUnit   = "341000068"
	WardUnit         = "341000076"
	// MisnamedUnit has another name here than in Adresseregisteret.
	MisnamedUnit = "341000084"
	// LoopUnit hangs on itself, which no register should say: whoever walks
	// upward must come to an end.
	LoopUnit = "341000092"
	// UnknownUnit is in no register.
	UnknownUnit = "341000106"
)

// Units returns the default world's Enhetsregisteret: a top-level unit for every
// delegation, the children of delegations and tenants as sub-units directly below,
// and the units that are there to be found fault with.
func Units(delegations []Delegation) []Unit {
	children := map[string][]string{SharingParent: {SharingNorth, SharingWest}}
	for _, tenant := range Tenants() {
		if tenant.Child != "" {
			children[tenant.Parent] = append(children[tenant.Parent], tenant.Child)
		}
	}
	var units []Unit
	seen := map[string]bool{}
	add := func(unit Unit) {
		if !seen[unit.Orgnr] {
			seen[unit.Orgnr] = true
			units = append(units, unit)
		}
	}
	for _, top := range delegations {
		add(Unit{Orgnr: top.Orgnr, Name: "SYNTETISK VIRKSOMHET " + top.Orgnr, Form: "AS"})
		for _, child := range slices.Concat(children[top.Orgnr], top.Children) {
			add(Unit{Orgnr: child, Name: "SYNTETISK ENHET " + child, Parent: top.Orgnr, Form: "BEDR", SubUnit: true})
		}
	}
	for _, special := range faultyUnits() {
		add(special)
	}
	return units
}

func faultyUnits() []Unit {
	return []Unit{
		{Orgnr: ParentNotDelegated, Name: "SYNTETISK VIRKSOMHET " + ParentNotDelegated, Form: "AS"},
		{Orgnr: StruckOffUnit, Name: "SYNTETISK NEDLAGT AS", Form: "AS", Deleted: "2024-06-30"},
		{Orgnr: RemovedUnit, Name: "SYNTETISK FJERNET AS", Form: "AS", Removed: true},
		{Orgnr: StruckOffSubUnit, Name: "SYNTETISK NEDLAGT ENHET", Parent: "100100126", Form: "BEDR", SubUnit: true, Deleted: "2023-12-31"},
		{Orgnr: MunicipalityUnit, Name: "SYNTETISK KOMMUNE", Form: "KOMM"},
		{Orgnr: DepartmentUnit, Name: "SYNTETISK KOMMUNE HELSE OG OMSORG", Parent: MunicipalityUnit, Form: "ORGL"},
		{Orgnr: WardUnit, Name: "SYNTETISK KOMMUNE SYKEHJEM", Parent: DepartmentUnit, Form: "BEDR", SubUnit: true},
		{Orgnr: MisnamedUnit, Name: "SYNTETISK LEGESENTER AS", Form: "AS"},
		{Orgnr: LoopUnit, Name: "SYNTETISK SLØYFE", Parent: LoopUnit, Form: "ORGL"},
	}
}

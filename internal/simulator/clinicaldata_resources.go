package simulator

import (
	"fmt"
	"strconv"
)

// Where the profiles, extensions and code systems of SFM's resources live.
const (
	profileBase  = "http://ehelse.no/fhir/StructureDefinition/"
	volven       = "urn:oid:2.16.578.1.12.4.1.1."
	systemFNR    = "urn:oid:2.16.578.1.12.4.1.4.1"
	systemHPR    = "urn:oid:2.16.578.1.12.4.1.4.4"
	systemHERID  = "urn:oid:2.16.578.1.12.4.1.2"
	systemFEST   = "http://ehelse.no/fhir/CodeSystem/FEST"
	systemATC    = "http://www.whocc.no/atc"
	sectionTypes = "http://ehelse.no/fhir/CodeSystem/sfm-section-types"
)

// medicines are generic substances, each with a form and a strength. The brand names in the data are made up.
var medicines = []struct{ atc, substance, form, strength string }{
	{"N02BE01", "Paracetamol", "tablett", "500 mg"},
	{"M01AE01", "Ibuprofen", "tablett", "400 mg"},
	{"C07AB02", "Metoprolol", "depottablett", "50 mg"},
	{"C10AA05", "Atorvastatin", "tablett", "40 mg"},
	{"A10BA02", "Metformin", "tablett", "850 mg"},
	{"B01AC06", "Acetylsalisylsyre", "enterotablett", "75 mg"},
	{"H03AA01", "Levotyroksinnatrium", "tablett", "100 mikrog"},
	{"A02BC01", "Omeprazol", "enterokapsel", "20 mg"},
	{"C09CA06", "Kandesartan", "tablett", "16 mg"},
	{"N05CF01", "Zopiklon", "tablett", "5 mg"},
	{"R03AC02", "Salbutamol", "inhalasjonspulver", "0,2 mg"},
	{"R06AE07", "Cetirizin", "tablett", "10 mg"},
	{"J01CE02", "Fenoksymetylpenicillin", "tablett", "660 mg"},
	{"N06AB04", "Citalopram", "tablett", "20 mg"},
	{"C03CA01", "Furosemid", "tablett", "40 mg"},
	{"B01AF01", "Rivaroksaban", "tablett", "20 mg"},
}

var dosages = []string{"1 tablett morgen", "1 tablett morgen og kveld", "1 til 2 ved behov, inntil 4 ganger daglig", "1 om kvelden", "2 hver morgen i 7 dager"}

func coding(system, code, display string) resource {
	return resource{"coding": []resource{{"system": system, "code": code, "display": display}}}
}

func withProfile(name string) resource {
	return resource{"profile": []string{profileBase + name}}
}

func (s seeded) pick(from []string) string { return from[s.IntN(len(from))] }

func (s seeded) day() string {
	return fmt.Sprintf("2025-%02d-%02d", 1+s.IntN(12), 1+s.IntN(28))
}

func (s seeded) patient(identifier string) resource {
	made := resource{
		"resourceType": "Patient", "id": s.uuid(), "meta": withProfile("sfm-Patient"), "active": true,
		"name":   []resource{{"family": "Syntetisk", "given": []string{s.pick([]string{"Anne", "Bjarne", "Cecilie", "Dag"})}}},
		"gender": s.pick([]string{"female", "male"}), "birthDate": fmt.Sprintf("19%02d-%02d-%02d", 30+s.IntN(70), 1+s.IntN(12), 1+s.IntN(28)),
		"address": []resource{{"use": "home", "type": "physical", "city": "Testby", "postalCode": "9999"}},
	}
	if identifier != "" {
		made["identifier"] = []resource{{"use": "official", "system": systemFNR, "value": identifier}}
	}
	return made
}

func (s seeded) practitioner() resource {
	return resource{
		"resourceType": "Practitioner", "id": s.uuid(), "meta": withProfile("sfm-Practitioner"), "active": true,
		"identifier": []resource{{"use": "official", "system": systemHPR, "value": strconv.Itoa(565500000 + s.IntN(1000))}},
		"name":       []resource{{"use": "official", "family": "Syntetisk", "given": []string{s.pick([]string{"Eli", "Finn", "Gro", "Hans"})}}},
	}
}

func (s seeded) organization() resource {
	return resource{
		"resourceType": "Organization", "id": s.uuid(), "meta": withProfile("sfm-Organization"), "name": "Syntetisk legesenter",
		"identifier": []resource{{"use": "official", "system": systemHERID, "value": strconv.Itoa(90000 + s.IntN(1000))}},
	}
}

// medicine is a Medication. Its member name is for the caller, who takes it out again.
func (s seeded) medicine() resource {
	m := medicines[s.IntN(len(medicines))]
	name := "Synt" + m.substance[:5] + " " + m.form + " " + m.strength
	packing := strconv.Itoa(10 * (1 + s.IntN(10)))
	return resource{
		"resourceType": "Medication", "id": s.uuid(), "meta": withProfile("sfm-Medication"), "status": "active", "name": name,
		"identifier": []resource{{"use": "official", "type": resource{"text": "identifier"}, "value": "ID_" + s.uuid()}},
		"code": resource{"coding": []resource{
			{"system": systemFEST, "code": strconv.Itoa(100000 + s.IntN(500000)), "display": name},
			{"system": systemATC, "code": m.atc, "display": m.substance},
		}},
		"form": coding(volven+"7448", strconv.Itoa(1+s.IntN(900)), m.form),
		"extension": []resource{
			{"url": profileBase + "sfm-medicationdetails", "extension": []resource{
				{"url": "registreringstype", "valueCodeableConcept": coding("http://ehelse.no/fhir/CodeSystem/sfm-festregistrationtype", "3", "Legemiddelpakning")},
				{"url": "packinginfoprescription", "extension": []resource{
					{"url": "name", "valueString": name},
					{"url": "packingsize", "valueString": packing},
					{"url": "packingunit", "valueCodeableConcept": coding(volven+"7452", "stk", "stykk")},
				}},
			}},
			{"url": "http://hl7.no/fhir/StructureDefinition/no-basis-prescriptiongroup", "extension": []resource{
				{"url": "prescriptiongroup", "valueCodeableConcept": coding(volven+"7421", "C", "Reseptgruppe C")},
			}},
		},
	}
}

// statement is a MedicationStatement with a prescription: the resource that makes these answers large.
func (s seeded) statement(medicine, practitioner, patient resource) resource {
	dosage, prescribed := s.pick(dosages), s.day()
	return resource{
		"resourceType": "MedicationStatement", "id": s.uuid(), "meta": withProfile("sfm-MedicationStatement"), "status": "active",
		"identifier": []resource{
			{"use": "usual", "type": resource{"text": "PLL"}, "value": s.uuid()},
			{"use": "usual", "type": resource{"text": "ReseptId"}, "value": s.uuid()},
		},
		"medicationReference": referenceTo(medicine, text(medicine, "name")),
		"subject":             referenceTo(patient, "Syntetisk pasient"),
		"dosage": []resource{{"sequence": 1, "text": dosage, "extension": []resource{
			{"url": profileBase + "sfm-use", "valueCodeableConcept": coding(volven+"9101", "1", "Fast")},
			{"url": profileBase + "sfm-application-area", "extension": []resource{{"url": "text", "valueString": "Mot syntetiske plager"}}},
		}}},
		"extension": []resource{
			s.prescription(dosage, prescribed),
			registration(practitioner, prescribed),
			{"url": profileBase + "sfm-generic-substitution", "extension": []resource{{"url": "genericSubstitutionAccepted", "valueBoolean": s.IntN(2) == 0}}},
		},
	}
}

func (s seeded) prescription(dosage, prescribed string) resource {
	return resource{"url": profileBase + "sfm-reseptamendment", "extension": []resource{
		{"url": "reseptdate", "valueDate": prescribed},
		{"url": "expirationdate", "valueDate": "2026" + prescribed[4:]},
		{"url": "festUpdate", "valueDateTime": prescribed + "T06:00:00+00:00"},
		{"url": "guardiantransparencyreservation", "valueBoolean": false},
		{"url": "indoctorsname", "valueBoolean": false},
		{"url": "dssn", "valueString": dosage},
		{"url": "lockedresept", "valueBoolean": false},
		{"url": "numberofpackages", "valueDecimal": 1 + s.IntN(3)},
		{"url": "reit", "valueString": strconv.Itoa(s.IntN(4))},
		{"url": "itemgroup", "valueCodeableConcept": coding(volven+"7402", "L", "Legemiddel")},
		{"url": "rfstatus", "extension": []resource{{"url": "status", "valueCodeableConcept": coding(volven+"7408", "E", "Ekspederbar")}}},
		{"url": "lastchanged", "valueDateTime": prescribed + "T12:00:00+01:00"},
		{"url": "typeresept", "valueCodeableConcept": coding(volven+"7491", "E", "Eresept")},
	}}
}

func registration(practitioner resource, prescribed string) resource {
	return resource{"url": profileBase + "sfm-regInfo", "extension": []resource{
		{"url": "status", "valueCodeableConcept": coding("http://ehelse.no/fhir/CodeSystem/sfm-medicationstatement-registration-status", "3", "Godkjent")},
		{"url": "type", "valueCodeableConcept": coding("http://ehelse.no/fhir/CodeSystem/sfm-performer-roles", "1", "Forskrevet av")},
		{"url": "provider", "valueReference": referenceTo(practitioner, "Syntetisk lege")},
		{"url": "timestamp", "valueDateTime": prescribed + "T12:00:00+01:00"},
	}}
}

func (s seeded) composition(practitioner, patient resource, medicines []resource) resource {
	section := func(code, title string, entries []resource) resource {
		return resource{"title": title, "code": coding(sectionTypes, code, title), "entry": entries,
			"text": resource{"status": "generated", "div": `<div xmlns="http://www.w3.org/1999/xhtml">` + title + `</div>`}}
	}
	return resource{
		"resourceType": "Composition", "id": s.uuid(), "meta": withProfile("sfm-MedicationComposition"), "status": "final",
		"identifier": resource{"use": "official", "value": s.uuid()}, "title": "Medication summary", "date": "2026-01-05",
		"type":    coding("http://loinc.org", "11503-0", "Medical records"),
		"author":  []resource{referenceTo(practitioner, "Syntetisk lege")},
		"subject": referenceTo(patient, "Syntetisk pasient"),
		"section": []resource{section("sectionMedication", "Medication", medicines), section("sectionAllergies", "Allergies", []resource{})},
	}
}

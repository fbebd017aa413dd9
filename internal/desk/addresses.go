package desk

import (
	"context"
	"slices"

	"sfm-sidecar/internal/journal"
	"sfm-sidecar/internal/register"
	"sfm-sidecar/internal/tenantmap"
)

// askAddresses compares HER-ids with Adresseregisteret (rule H3): one that is not there, not in use, or another
// organization's, has no Aktør in RF, or somebody else's.
func (d *desk) askAddresses(ctx context.Context, registry *tenantmap.Registry, found *[]finding) registerReport {
	report := registerReport{Name: nameAddresses}
	set := registry.Set()
	ids := herIDs(set)
	parties, err := d.parties(ctx, ids)
	if err != nil {
		report.Problem = reason(err)
		*found = append(*found, unasked("adresseregisteret", nameAddresses, err))
		return report
	}
	report.Asked = len(ids)
	for _, f := range compareParties(set, parties) {
		*found = append(*found, placed(registry, f))
	}
	return report
}

func (d *desk) parties(ctx context.Context, ids []string) (map[string]register.Party, error) {
	if d.Addresses == nil {
		return nil, errNoRegister
	}
	client, err := d.Addresses()
	if err != nil {
		return nil, err
	}
	return client.Parties(ctx, ids)
}

// herIDs are those of a registry, each once.
func herIDs(set *journal.Set) []string {
	var ids []string
	for _, j := range set.Journals {
		for _, o := range j.Organizations {
			if o.HERID != "" {
				ids = append(ids, o.HERID)
			}
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// compareParties judges every HER-id of a registry by what Adresseregisteret knows.
func compareParties(set *journal.Set, parties map[string]register.Party) []journal.Finding {
	var found []journal.Finding
	for i, j := range set.Journals {
		for k, o := range j.Organizations {
			if o.HERID == "" {
				continue
			}
			f := journal.Finding{Rule: "H3", Severity: journal.Error, At: journal.Place{Journal: i, Organization: k, Tenant: -1, Field: "her_id"}}
			if party, ok := parties[o.HERID]; judgeParty(&f, j, o, party, ok) {
				found = append(found, f)
			}
		}
	}
	return found
}

// judgeParty fills in what is wrong with one HER-id, and reports whether anything is. A HER-id that several organizations
// share hangs on one of them, or on the legal unit above.
func judgeParty(f *journal.Finding, j journal.Journal, o journal.Organization, party register.Party, known bool) bool {
	carries := func(orgnr string) bool {
		return slices.ContainsFunc(j.Organizations, func(other journal.Organization) bool {
			return other.Orgnr == orgnr && other.HERID == o.HERID
		})
	}
	switch {
	case !known:
		f.Message = "the HER-id " + o.HERID + " is not in Adresseregisteret"
		f.Mend = "write the HER-id of " + o.Orgnr + " as Adresseregisteret has it, or register it there first"
	case !party.Active:
		f.Message = "the HER-id " + o.HERID + " " + party.Name + " is not in use in Adresseregisteret"
		f.Mend = "use one that is, or have it activated there"
	case party.Orgnr == "":
		f.Severity = journal.Warning
		f.Message = "Adresseregisteret does not say which organization the HER-id " + o.HERID + " " + party.Name + " hangs on"
		f.Mend = "look it up in Adresseregisteret by hand"
	case carries(party.Orgnr):
		return false
	case party.Orgnr == o.Parent || party.Orgnr == o.PartOf:
		f.Severity = journal.Warning
		f.Message = "the HER-id " + o.HERID + " " + party.Name + " hangs on " + party.Orgnr + ", above " + o.Orgnr
		f.Mend = "give it to " + party.Orgnr + " and let " + o.Orgnr + " be part_of that, if both provide the same service"
	default:
		f.Message = "the HER-id " + o.HERID + " " + party.Name + " hangs on " + party.Orgnr + " in Adresseregisteret, and on " + o.Orgnr + " here"
		f.Mend = "use the HER-id of " + o.Orgnr
	}
	return true
}

package desk

// next are the steps that follow once a tenant is in the registry.
func (d *desk) next(out written) []string {
	var steps []string
	alias, plan := quoted(out.Tenant.Alias), ""
	switch out.Origin {
	case originMinted:
		plan = " --plan " + planNew
		steps = append(steps,
			"keep the journal-id: with another one SFM would make another, empty journal",
			"write the organization with POST …/Organization, active=false, and Sfm-Journal-Intent: new",
			"then set created: true on the journal in the registry")
	case originSFMID:
		plan = " --plan " + planSwitch
		steps = append(steps,
			"the SFM-id is the journal-id now: the customer's data stay where they are",
			"get a token for the tenant and see with GET …/Organization that the organizations are there")
	default:
		if out.Organization != nil && !out.Organization.Active {
			steps = append(steps, "write the organization with POST …/Organization, active=false, and Sfm-Journal-Intent: existing")
		}
	}
	if out.Organization != nil && !out.Organization.Active {
		steps = append(steps, "once SFM has it active, set active: true on the organization in the registry")
	}
	return append(steps, "see how SFM will resolve it: sidecar tenants explain "+alias+d.elsewhere(),
		"be led through the rest: sidecar tenants onboard"+plan+" --alias "+alias+d.elsewhere())
}

func (d *desk) printAdded(out written) {
	p := d.out
	origin := map[string]string{originMinted: "new", originSFMID: "the customer's SFM-id", originRegistry: "was there"}
	p.say("%s\n", p.paint(bold, "Written to "+out.File))
	rows := [][]cell{{{"journal", ""}, {out.Journal + ", " + origin[out.Origin], ""}}}
	if o := out.Organization; o != nil {
		text := o.text()
		if o.HERID != "" {
			text += ", HER-id " + o.HERID
		}
		if !o.Active {
			text += ", not active"
		}
		rows = append(rows, []cell{{"organization", ""}, {text, ""}})
	}
	who := out.Tenant.Alias + ": parent " + out.Tenant.Parent
	if out.Tenant.Child != "" {
		who += ", child " + out.Tenant.Child
	}
	p.table(2, append(rows, []cell{{"tenant", ""}, {who, ""}}))
	if len(out.Findings) > 0 {
		p.say("\n%s\n", p.paint(bold, "Worth knowing"))
		p.findings(out.Findings)
	}
	p.say("\n%s\n", p.paint(bold, "Next"))
	for i, step := range out.Next {
		p.say("  %d. %s\n", i+1, step)
	}
}

package desk

const usage = `usage: sidecar tenants <command>

  lint          every fault and finding of the registry, with line and mend
  explain       how SFM will resolve a tenant, and what its token must say
  add           write a tenant into the registry
  list          the tenants of the registry
  onboard       the way of a new customer, step by step, with what can be checked

  -f FILE       the registry: a file or a folder (default: TENANTS_FILE)
  -o json       for programs; the members are described in docs/tenants.md

sidecar tenants <command> -h tells of its own flags.
`

// usages are the commands' own.
var usages = map[string]string{
	"lint": `usage: sidecar tenants lint [FILE] [flags]

  --brreg                 ask Enhetsregisteret about every organization number
  --adresseregisteret     ask Adresseregisteret about every HER-id
`,
	"explain": `usage: sidecar tenants explain ALIAS [flags]
       sidecar tenants explain PARENT[:CHILD] --journal ID [flags]

  --journal ID            the journal-id, with organization numbers
`,
	"add": `usage: sidecar tenants add --alias NAME --parent ORGNR [flags]

The tenant:
  --alias NAME            what you and the EPJ call it: a to z, digits and signs
  --parent ORGNR          the top-level unit
  --child ORGNR           the sub-unit, where one is meant

Its journal; with none of these a journal-id is made:
  --journal ID            one that the registry has
  --sfm-id ID             one that SFM has: a customer's SFM-id so far
  --new-journal           a new, empty one, for a customer who has a journal already
  --journal-name NAME     what a new journal is called

The organization that the tenant enters by, as it is written to SFM; with none of these it is left out, where the
registry holds none of the journal's:
  --name NAME
  --her-id HERID          its HER-id, or else
  --part-of ORGNR         the organization above it, which has one
  --address TEXT, --phone TEXT
  --active                it is active in SFM
`,
	"list": `usage: sidecar tenants list [flags]

  The exit code is 0 whatever the states are; lint judges.
`,
	"onboard": `usage: sidecar tenants onboard --plan PLAN --alias NAME --parent ORGNR [flags]

  --plan new              a new customer with a journal of its own
  --plan single-to-multi  from a client of one organization to the client of many
  --plan new-orgnr        a new organization number for a customer that has a journal
  --alias NAME            what you and the EPJ call the tenant
  --parent ORGNR          the top-level unit
  --child ORGNR           the sub-unit, where one is meant
  --her-id HERID          the HER-id, once it is known
  --sfm-id ID             single-to-multi: the customer's SFM-id
  --journal ID            new-orgnr: the customer's journal-id
  --old-parent ORGNR, --old-child ORGNR
                          new-orgnr: the organization that is left
  --state FILE            keep what is confirmed, to go on another time
  --sidecar URL           a running sidecar, to look into the journal
  --session HANDLE|@FILE  the session to do so with; @FILE: the handle is in FILE
  --upstream NAME         by which of SFM_UPSTREAMS (default: basis)
`,
}

const commonUsage = `
  -f FILE                 the registry: a file or a folder (default: TENANTS_FILE)
  -o json                 for programs; the members are described in docs/tenants.md
`

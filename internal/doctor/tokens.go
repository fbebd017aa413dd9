package doctor

import (
	"context"
	"errors"
	"strings"
	"time"

	"sfm-sidecar/internal/helseid"
)

// seenGrant is what a granted token showed.
type seenGrant struct {
	tenant   Tenant
	lifetime time.Duration
	scopes   []string
}

// tokens asks for one token for each tenant.
func (e *examination) tokens(ctx context.Context) {
	if len(e.o.Tenants) == 0 {
		e.run(ctx, step{name: stepToken, tried: "nothing", look: func(context.Context) Finding {
			return skipped("no tenant was named: sidecar check ALIAS, or PARENT[:CHILD]@JOURNAL, shows whether its token can be had")
		}})
		return
	}
	needs := []string{stepNonce}
	if !e.o.DPoP {
		needs = []string{stepClock}
	}
	if e.o.byPerson() && e.o.Login {
		needs = []string{stepLogin}
	}
	for _, t := range e.o.Tenants {
		e.run(ctx, step{
			name: stepToken, subject: t.Label, needs: needs, limit: tokenLimit,
			tried: e.means() + " for " + t.Label,
			look:  func(ctx context.Context) Finding { return e.token(ctx, t) },
		})
	}
}

// listed warns of tenants that are not in the registry. One is examined all the same: before it is added is when to do so.
func (e *examination) listed(ctx context.Context) {
	for _, t := range e.o.Tenants {
		if t.Unlisted {
			e.run(ctx, step{name: stepRegistry, subject: t.Label, tried: "looking for it in TENANTS_FILE", look: func(context.Context) Finding {
				return careful("it is not there", "the sidecar refuses calls for it, with tenant-unknown",
					"add it before it is used: sidecar tenants add; TENANTS_POLICY=any lets every tenant pass")
			}})
		}
	}
}

// byPerson says whose tokens are asked for: a person's where one logs in, or where there are no others.
func (o *Options) byPerson() bool { return o.Person && (o.Login || !o.Machine) }

// means is how tokens are asked for.
func (e *examination) means() string {
	switch {
	case e.o.byPerson():
		return "a refresh of the log-in"
	case e.o.Machine:
		return "client credentials"
	}
	return "nothing"
}

// errNoMeans says that no token can be asked for at all.
var errNoMeans = errors.New("no means to ask for a token")

// ask gets a token by whatever means there are.
func (e *examination) ask(ctx context.Context, client HelseID, t helseid.Tenant) (*helseid.Grant, error) {
	switch {
	case !e.o.byPerson() && e.o.Machine:
		return client.ClientCredentials(ctx, e.o.Request(t, false))
	case e.o.byPerson() && e.login != nil && e.login.pid != "":
		r := e.o.Request(t, true)
		r.PID = e.login.pid
		return e.refreshFor(ctx, client, r)
	}
	return nil, errNoMeans
}

func (e *examination) token(ctx context.Context, t Tenant) Finding {
	g, err := e.ask(ctx, e.o.HelseID, t.Tenant)
	switch {
	case errors.Is(err, errNoMeans) && e.o.Person:
		return skipped("a token needs a person: run the check with --login")
	case errors.Is(err, errNoMeans):
		return skipped("with token-exchange alone a token needs one of the EPJ's own, which this check has not")
	case err != nil:
		return explain(err)
	}
	facts, readable := helseid.Describe(g.Token.AccessToken)
	f := good("a "+g.Token.TokenType+" token, good for "+span(g.Lifetime),
		"HelseID lets the client act for this organization and journal, and the token says exactly what was asked for; whether SFM knows the journal only SFM can tell")
	f.Details = facts
	if !readable { // the helseid room has read it before
		f.Details = nil
	}
	if len(g.Warnings) > 0 {
		f.Status, f.Means = Warning, "the token is good, but: "+strings.Join(g.Warnings, "; ")
		f.Do = "see that the person's log-in and HELSEID_LOGIN_SCOPES bring what is missing"
	}
	e.grants = append(e.grants, seenGrant{t, g.Lifetime, scopesOf(facts)})
	return f
}

func scopesOf(facts []helseid.Fact) []string {
	for _, f := range facts {
		if f.Name == "scope" {
			return strings.Fields(f.Value)
		}
	}
	return nil
}

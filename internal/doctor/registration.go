package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/selvbetjening"
)

// Registrar is HelseID Selvbetjening as the client sees it; [selvbetjening.API] is one.
type Registrar interface {
	Client(ctx context.Context) (*selvbetjening.Client, error)
	Keys(ctx context.Context) ([]selvbetjening.Key, error)
	selvbetjening.TenantLister
}

// keyWarn is how near the end of the client's key must be to be spoken of.
const keyWarn = 30 * 24 * time.Hour

// registration compares the client's registration with the configuration. Where Selvbetjening can't be asked, nothing
// else is worse for it: it is a warning.
func (e *examination) registration(ctx context.Context) {
	if e.o.Registration == nil {
		return
	}
	var found *selvbetjening.Client
	f := e.run(ctx, step{
		name: stepRegistration, needs: []string{stepNonce}, tried: "GET the client's registration from HelseID Selvbetjening",
		look: func(ctx context.Context) (f Finding) {
			found, f = e.askRegistration(ctx)
			return f
		},
	})
	if f.Status != OK {
		return
	}
	for _, part := range []struct {
		subject string
		look    func(context.Context) Finding
	}{
		{"scopes", func(context.Context) Finding { return e.scopes(found.Scopes) }},
		{"redirect addresses", func(context.Context) Finding { return e.redirects(found) }},
		{"sub-units", func(context.Context) Finding { return e.children(found.Children) }},
		{"tenants", e.tenantStatuses},
		{"key", e.keyExpiry},
	} {
		e.run(ctx, step{name: stepRegistration, subject: part.subject, tried: "comparing it with the configuration", look: part.look})
	}
}

func (e *examination) askRegistration(ctx context.Context) (*selvbetjening.Client, Finding) {
	c, err := e.o.Registration.Client(ctx)
	if err != nil {
		return nil, unasked(err)
	}
	return c, good("the client's registration", "it can be compared with the configuration")
}

// unasked is what it means that Selvbetjening does not answer: less is known, nothing is wrong with the sidecar.
func unasked(err error) Finding {
	if errors.Is(err, selvbetjening.ErrNotOffered) {
		return skipped("HelseID Selvbetjening has no list of tenants for this client")
	}
	const means = "the registration could not be compared; that need not hinder the sidecar"
	if r, ok := errors.AsType[refusal](err); ok { // HelseID gave no token for the question
		if r.OAuthError() == "invalid_scope" || r.OAuthError() == "unauthorized_client" {
			return skipped("the client may not ask: it needs the grant client credentials and the scope " + selvbetjening.Scope)
		}
		f := explain(err)
		f.Status, f.Means = Warning, means+" ("+f.Means+")"
		return f
	}
	if own, ok := errors.AsType[*selvbetjening.Error](err); ok {
		return careful(own.Error(), means, own.Mend)
	}
	return careful("no answer", means, "run the check again")
}

// scopes: each that is asked for must be registered and ok.
func (e *examination) scopes(registered []selvbetjening.ClientScope) Finding {
	var missing, pending, odd []string
	for _, scope := range e.o.Authorization.Scopes {
		if !ofAnAPI(scope) { // openid, profile and the like may be missing in the list, which is of APIs
			continue
		}
		at := slices.IndexFunc(registered, func(r selvbetjening.ClientScope) bool { return r.Scope == scope })
		switch {
		case at < 0:
			missing = append(missing, scope)
		case registered[at].Status == selvbetjening.StatusPending:
			pending = append(pending, scope+" ("+orUnknown(registered[at].Reason)+")")
		case registered[at].Status != selvbetjening.StatusOK:
			odd = append(odd, scope+" ("+helseid.Scrub(string(registered[at].Status))+")")
		}
	}
	switch {
	case len(missing) > 0:
		return wrong("not registered: "+words(missing), "HelseID will refuse every request that names them",
			"name the API as consumed in the client system in HelseID Selvbetjening, and have its owner approve")
	case len(pending) > 0:
		return wrong("pending: "+words(pending), "the scope is applied for, but not yet granted", "wait for its owner, or ask what is missing")
	case len(odd) > 0:
		return careful("of another status: "+words(odd), "the sidecar does not know what this status means", "ask NHN if tokens come without the scope")
	}
	return good("every scope of an API that is asked for is registered and ok", "HelseID will grant them, as far as each organization has signed the terms")
}

func ofAnAPI(scope string) bool {
	return strings.Contains(scope, "/") && !strings.HasPrefix(scope, "helseid://")
}

func orUnknown(reason string) string {
	if reason == "" {
		return "no reason given"
	}
	return helseid.Scrub(reason)
}

func (e *examination) redirects(r *selvbetjening.Client) Finding {
	z := e.o.Authorization
	var missing []string
	if e.o.Person && !slices.Contains(r.RedirectURIs, z.RedirectURI) {
		missing = append(missing, "redirect address "+z.RedirectURI)
	}
	if z.PostLogoutRedirectURI != "" && !slices.Contains(r.PostLogoutRedirectURIs, z.PostLogoutRedirectURI) {
		missing = append(missing, "post-logout address "+z.PostLogoutRedirectURI)
	}
	switch {
	case !e.o.Person && len(missing) == 0:
		return skipped("HELSEID_GRANT has no user: nobody logs in")
	case len(missing) == 0:
		return good("registered to the letter", "the browser will be sent back")
	}
	f := wrong("not registered to the letter: "+words(missing), "HelseID will not send the browser there",
		"register it exactly so in HelseID Selvbetjening, or configure one of: "+words(append(slices.Clone(r.RedirectURIs), r.PostLogoutRedirectURIs...)))
	if portless(z.RedirectURI, r.RedirectURIs) && len(missing) == 1 {
		f.Status, f.Means = Warning, "only the port differs, which HelseID's test environment lets pass; production may not"
	}
	return f
}

// portless reports whether a loopback address is registered but for its port.
func portless(address string, registered []string) bool {
	const localhost = "http://localhost"
	strip := func(s string) (string, bool) {
		rest, ok := strings.CutPrefix(s, localhost)
		if !ok {
			return "", false
		}
		slash := strings.Index(rest, "/")
		if slash < 0 {
			return "", true
		}
		return rest[slash:], true
	}
	path, ok := strip(address)
	return ok && slices.ContainsFunc(registered, func(one string) bool {
		other, ok := strip(one)
		return ok && other == path
	})
}

func (e *examination) children(registered []string) Finding {
	var missing []string
	for _, t := range e.o.Tenants {
		if t.Child != "" && !slices.Contains(registered, t.Child) {
			missing = append(missing, t.Child)
		}
	}
	switch {
	case len(registered) == 0:
		return skipped("no list of sub-units is registered, so HelseID does not check them")
	case len(missing) > 0:
		return wrong("not listed: "+words(missing), "HelseID keeps a list of sub-units for this client, and refuses others (HID-1002)",
			"add them to the client in HelseID Selvbetjening")
	}
	return good("every sub-unit that was named is listed", "HelseID will let the client name them")
}

func (e *examination) tenantStatuses(ctx context.Context) Finding {
	if len(e.o.Tenants) == 0 {
		return skipped("no tenant was named")
	}
	known, err := e.o.Registration.Tenants(ctx)
	if err != nil {
		return unasked(err)
	}
	f := good("every tenant that was named is Active", "delegation and agreements are in place at the parent")
	var wanting []string
	for _, t := range e.o.Tenants {
		status := tenantStatus(known, t.Parent)
		if status != selvbetjening.TenantActive {
			wanting = append(wanting, t.Parent)
		}
		f.Details = append(f.Details, helseid.Fact{Name: t.Parent, Value: status})
	}
	if len(wanting) > 0 {
		details := f.Details
		f = wrong("not Active: "+words(wanting), "HelseID gives no token for SFM to organizations that are not Active",
			"have the organization delegate in Altinn at the parent, and sign NHN's agreements and the terms of use of SFM; sidecar tenants onboard leads through it")
		f.Details = details
	}
	return f
}

// tenantStatus is "Active", or what is missing.
func tenantStatus(known []selvbetjening.Tenant, parent string) string {
	at := slices.IndexFunc(known, func(t selvbetjening.Tenant) bool { return t.Orgnr == parent })
	if at < 0 {
		return "not in the list: it has neither delegated nor signed"
	}
	t := known[at]
	if t.Status == selvbetjening.TenantActive {
		return t.Status
	}
	var missing []string
	if !t.Delegation {
		missing = append(missing, "delegation in Altinn")
	}
	for _, term := range t.Terms {
		if !term.Signed {
			missing = append(missing, "agreement "+helseid.Scrub(term.Name))
		}
	}
	return strings.TrimSuffix(helseid.Scrub(t.Status)+"; missing: "+words(missing), "; missing: ")
}

func (e *examination) keyExpiry(ctx context.Context) Finding {
	keys, err := e.o.Registration.Keys(ctx)
	if err != nil {
		return unasked(err)
	}
	at := slices.IndexFunc(keys, func(k selvbetjening.Key) bool {
		return k.ID == e.o.Key.ID || k.Thumbprint != "" && k.Thumbprint == e.o.Key.Thumbprint
	})
	switch {
	case at < 0:
		return careful(fmt.Sprintf("none of %d keys listed has this kid", len(keys)), "HelseID knows the key (it took its signature), but the list does not name it", "look into HelseID Selvbetjening by hand")
	case keys[at].Expires.IsZero():
		return good("listed, without an end", "the key need not be changed")
	}
	return judgeExpiry(keys[at].Expires, time.Now(), e.o.Key.File)
}

// judgeExpiry says what is to be done about a key's end. A rotation needs a key that HelseID still takes, and a file to
// keep the new one in.
func judgeExpiry(expires, now time.Time, file string) Finding {
	const byHand = "make a new one with sidecar keygen, and register it in HelseID Selvbetjening by hand"
	day, rotate := expires.UTC().Format(time.DateOnly), "register a new one: sidecar keys rotate"
	if file == "" {
		rotate = byHand
	}
	f := good("good until "+day, "the key need not be changed yet")
	switch left := expires.Sub(now); {
	case left <= 0:
		f = wrong("ended "+day, "HelseID no longer takes this key", byHand)
	case left < keyWarn:
		f = careful("good until "+day, "the key ends within a month", rotate)
	}
	f.Details = Details{{Name: "expires", Value: expires.UTC().Format(time.RFC3339)}}
	return f
}

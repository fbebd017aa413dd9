package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"sfm-sidecar/internal/helseid"
)

func (e *examination) configuration(context.Context) Finding {
	found := "issuer " + e.o.Issuer + ", client " + e.o.ClientID
	if len(e.o.Warnings) == 0 {
		return good(found, "every variable can be read, and none contradicts another")
	}
	f := careful(found, "the sidecar starts, but something looks wrong", "look at the warnings that are listed")
	for i, w := range e.o.Warnings {
		f.Details = append(f.Details, helseid.Fact{Name: fmt.Sprintf("warning_%d", i+1), Value: w})
	}
	return f
}

func (e *examination) key(context.Context) Finding {
	k := e.o.Key
	found := k.Strength + ", signs with " + k.Algorithm + ", kid " + k.ID
	if k.Mode != "" {
		found += ", file mode " + k.Mode
	}
	f := good(found, "the key can sign, and both its halves belong together")
	if k.Exposed != "" {
		f = careful(found, "the key can sign, but "+k.Exposed,
			"let the sidecar's user alone read the file: chmod 600 "+k.File+" and chown to that user; in Kubernetes, defaultMode 0400 and fsGroup")
	}
	if !k.NotAfter.IsZero() {
		if ends := judgeExpiry(k.NotAfter, time.Now(), k.File); ends.Status != OK || f.Status == OK {
			f.Status, f.Found, f.Means, f.Do = ends.Status, found+", "+ends.Found, ends.Means, ends.Do
		}
	}
	f.Details = Details{{Name: "algorithm", Value: k.Algorithm}, {Name: "strength", Value: k.Strength}, {Name: "kid", Value: k.ID}}
	return f
}

func (e *examination) discovery(ctx context.Context) Finding {
	endpoints, err := e.o.HelseID.Endpoints(ctx)
	if err != nil {
		return explain(err)
	}
	f := good("HelseID's metadata, with every endpoint that is needed", "HelseID can be reached from here, and it is the issuer that is configured")
	for _, d := range []helseid.Fact{
		{Name: "authorization", Value: endpoints.Authorization}, {Name: "token", Value: endpoints.Token},
		{Name: "par", Value: endpoints.PAR}, {Name: "revocation", Value: endpoints.Revocation},
		{Name: "end_session", Value: endpoints.EndSession},
	} {
		if d.Value != "" {
			f.Details = append(f.Details, d)
		}
	}
	if endpoints.Revocation == "" {
		f.Status, f.Means = Warning, "everything works but log-out: HelseID offers no revocation"
	}
	return f
}

// How far a clock may be off. The first two are the helseid room's: what is worth a warning, and what it corrects. The
// third is the youngest end of the window in which SFM takes a proof (6 s old to 5 s ahead, as NHN's samples have it).
const (
	skewWarn   = 2 * time.Second
	skewLimit  = 5 * time.Minute
	skewProofs = 5 * time.Second
)

func (e *examination) clock(context.Context) Finding {
	offset, known := e.o.HelseID.Skew()
	if !known {
		return careful("HelseID's answer had no usable Date", "the clock could not be compared", "see whether a proxy answers in HelseID's place")
	}
	const mend = "set the clock (NTP; NHN has ntp.nhn.no)"
	found := fmt.Sprintf("%s off (positive = this machine is behind), to the second", offset.Round(time.Second))
	f := good(found, "assertions and proofs are dated as HelseID and SFM want them")
	switch size := offset.Abs(); {
	case e.o.SystemClock && size > skewProofs:
		f = wrong(found, "with SIDECAR_CLOCK=system nothing corrects this, and SFM takes proofs a few seconds off only",
			mend+", or leave SIDECAR_CLOCK at correct")
	case size > skewLimit:
		f = wrong(found, "more than the sidecar corrects (5 minutes): HelseID will refuse every assertion", mend)
		f.Code = "clock-skew"
	case size > skewWarn && e.o.SystemClock:
		f = careful(found, "still within what HelseID and SFM are known to take, and nothing corrects it", mend)
	case size > skewWarn:
		f = careful(found, "the sidecar corrects it, but other programs and the logs go by the wrong time", mend)
	}
	f.Details = Details{{Name: "offset_seconds", Value: fmt.Sprint(int(offset.Round(time.Second).Seconds()))}}
	return f
}

func (e *examination) pushed(ctx context.Context) Finding {
	z := e.o.Authorization
	switch {
	case !e.o.Person:
		return skipped("HELSEID_GRANT has no user: nobody logs in")
	case z.NamesTenant && len(e.o.Tenants) == 0:
		return skipped("HELSEID_LOGIN_TENANT=request-object needs an organization: name a tenant on the command line")
	}
	_, lifetime, err := e.o.HelseID.Push(ctx, e.authorization(z.NamesTenant).Authorization)
	if err != nil {
		return explainPush(err, z.RedirectURI)
	}
	return good("taken; it could be opened for "+span(lifetime),
		"client id, key, scopes and redirect address are registered as they are configured here")
}

// attempt is a log-in about to begin, with what has to be known when it comes back.
type attempt struct {
	helseid.Authorization
	verifier string
}

// authorization makes a new one; named = for the first tenant.
func (e *examination) authorization(named bool) attempt {
	verifier := oauth2.GenerateVerifier()
	a := attempt{verifier: verifier, Authorization: helseid.Authorization{
		RedirectURI: e.o.Authorization.RedirectURI, Scopes: e.o.Authorization.Scopes, Extra: e.o.Authorization.Extra,
		State: rand.Text() + rand.Text(), Nonce: rand.Text() + rand.Text(), Challenge: oauth2.S256ChallengeFromVerifier(verifier),
	}}
	if named {
		a.Tenant = e.o.Tenants[0].Tenant
	}
	return a
}

func (e *examination) handshake(ctx context.Context) Finding {
	if !e.o.DPoP {
		return skipped("SFM_API=v1 uses no DPoP")
	}
	probe, err := e.o.HelseID.ProbeNonce(ctx, "")
	if fault, ok := unexpected(err); ok {
		return fault
	}
	e.nonce = probe.Next
	const found = ", then refused the token that does not exist"
	if !probe.Challenged {
		return careful("HelseID took a proof without a nonce"+found,
			"the client's signature is accepted; HelseID is known to ask for a nonce, and did not",
			"nothing: the sidecar works with and without; but see that HELSEID_ISSUER is HelseID itself")
	}
	return good("HelseID asked for a nonce (use_dpop_nonce), took the second proof"+found,
		"the client's signature is accepted at the token endpoint, and the DPoP nonce handshake works")
}

// unexpected tells a refusal that stops everybody from the one that a token that does not exist must get, or a client
// that may not refresh at all.
func unexpected(err error) (Finding, bool) {
	if err == nil {
		return wrong("HelseID granted a token for a refresh token that does not exist", "this is not HelseID", "check HELSEID_ISSUER"), true
	}
	r, ok := errors.AsType[refusal](err)
	if !ok {
		return explain(err), true
	}
	switch r.OAuthError() {
	case "invalid_client", "invalid_dpop_proof", "use_dpop_nonce", "":
		return explain(err), true
	}
	if r.Code() == "helseid-unavailable" || r.Code() == "clock-skew" {
		return explain(err), true
	}
	return Finding{}, false
}

// words joins what is listed in a sentence.
func words(list []string) string { return strings.Join(list, ", ") }

// span writes how long something lives, without false exactness.
func span(d time.Duration) string {
	if d >= 10*time.Minute {
		d = d.Round(time.Minute)
	}
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

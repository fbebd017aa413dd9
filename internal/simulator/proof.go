package simulator

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// The two error codes of RFC 9449 sections 5 and 8 for a refused proof.
const (
	codeInvalidProof = "invalid_dpop_proof"
	codeUseNonce     = "use_dpop_nonce"
)

// proofRule says what a proof must match. HelseID and SFM judge by the same
// steps with different rules.
type proofRule struct {
	method      string        // htm, exact
	htu         string        // htu, compared as a string
	accessToken string        // its hash must be ath; "" = no ath is asked for
	back, ahead time.Duration // iat must lie in [now-back, now+ahead]
	seen        *replayList   // jti values already used here
	now         time.Time
	nonceOK     func(nonce string) bool // nil = no nonce is wanted
}

// proof is what a good proof says.
type proof struct {
	jkt, jti, nonce string
	claims          map[string]any
}

// proofFault is a refusal: code for the machine, text for the reader. The text
// quotes what the sender may see of its own proof (htu, htm, times), never the
// proof itself.
type proofFault struct{ code, text string }

// Error makes a proofFault an error.
func (f *proofFault) Error() string { return f.code + ": " + f.text }

func badProof(format string, args ...any) *proofFault {
	return &proofFault{code: codeInvalidProof, text: fmt.Sprintf(format, args...)}
}

// checkProof judges the DPoP proof of r by the list of RFC 9449 section 4.3,
// in its order. A jti counts as used as soon as the signature is good, also
// when a later step refuses the proof.
func checkProof(r *http.Request, rule proofRule) (*proof, *proofFault) {
	parsed, jkt, fault := signedProof(r)
	if fault != nil {
		return nil, fault
	}
	p := &proof{jkt: jkt, jti: text(parsed.claims, "jti"), nonce: text(parsed.claims, "nonce"), claims: parsed.claims}
	steps := []func(*proof, proofRule) *proofFault{checkTarget, checkIssued, checkReplay, checkTokenHash, checkNonce}
	for _, step := range steps {
		if fault := step(p, rule); fault != nil {
			return nil, fault
		}
	}
	return p, nil
}

// signedProof finds the one proof of r and checks its header and signature.
func signedProof(r *http.Request) (*jws, string, *proofFault) {
	values := r.Header.Values("DPoP")
	if len(values) != 1 {
		return nil, "", badProof("exactly one DPoP header is wanted, %d came", len(values))
	}
	parsed, err := parseJWS(values[0])
	if err != nil {
		return nil, "", badProof("%v", err)
	}
	if typ := text(parsed.header, "typ"); typ != "dpop+jwt" {
		return nil, "", badProof("typ is %q, dpop+jwt is wanted", typ)
	}
	if _, known := algorithms[parsed.alg()]; !known {
		return nil, "", badProof("alg %q is none of the nine asymmetric algorithms", parsed.alg())
	}
	jwk, ok := parsed.header["jwk"].(map[string]any)
	if !ok {
		return nil, "", badProof("the header has no jwk object")
	}
	key, err := publicKey(jwk)
	if err != nil {
		return nil, "", badProof("%v", err)
	}
	if err := parsed.verify(key); err != nil {
		return nil, "", badProof("%v", err)
	}
	jkt, err := thumbprint(jwk)
	if err != nil {
		return nil, "", badProof("%v", err)
	}
	return parsed, jkt, nil
}

func checkTarget(p *proof, rule proofRule) *proofFault {
	if htm := text(p.claims, "htm"); htm != rule.method {
		return badProof("htm is %q, the request's method is %q", htm, rule.method)
	}
	if htu := text(p.claims, "htu"); htu != rule.htu {
		return badProof("htu is %q, the request's address is %q (compared as a string, without query and fragment)", htu, rule.htu)
	}
	return nil
}

func checkIssued(p *proof, rule proofRule) *proofFault {
	iat, ok := seconds(p.claims, "iat")
	if !ok {
		return badProof("iat is missing or not a number")
	}
	late := float64(rule.now.UnixMilli())/1000 - iat
	switch {
	case late > rule.back.Seconds():
		return badProof("iat is %.1f s old, at most %.0f s are accepted; is the clock right?", late, rule.back.Seconds())
	case -late > rule.ahead.Seconds():
		return badProof("iat is %.1f s in the future, at most %.0f s are accepted; is the clock right?", -late, rule.ahead.Seconds())
	default:
		return nil
	}
}

func checkReplay(p *proof, rule proofRule) *proofFault {
	if p.jti == "" {
		return badProof("jti is missing or not a string")
	}
	if rule.seen != nil && !rule.seen.first(p.jti, rule.now) {
		return badProof("jti was seen before; every proof needs a new one, a repeated request too")
	}
	return nil
}

func checkTokenHash(p *proof, rule proofRule) *proofFault {
	if rule.accessToken == "" {
		return nil
	}
	sum := sha256.Sum256([]byte(rule.accessToken))
	switch text(p.claims, "ath") {
	case base64.RawURLEncoding.EncodeToString(sum[:]):
		return nil
	case "":
		return badProof("ath is missing; it must be the hash of the access token in the Authorization header")
	default:
		return badProof("ath is not the hash of the access token in the Authorization header")
	}
}

func checkNonce(p *proof, rule proofRule) *proofFault {
	if rule.nonceOK == nil {
		return nil
	}
	if p.nonce == "" {
		return &proofFault{code: codeUseNonce, text: "the proof carries no nonce; use the one in the DPoP-Nonce header of this answer, in a new proof"}
	}
	if !rule.nonceOK(p.nonce) {
		return &proofFault{code: codeUseNonce, text: "the proof's nonce is stale, used up or not from here; use the one in the DPoP-Nonce header of this answer, in a new proof"}
	}
	return nil
}

// replayList remembers identifiers for a fixed time. Safe for concurrent use.
type replayList struct {
	life time.Duration

	mu    sync.Mutex // guards the rest
	seen  map[string]bool
	order []replayed // in order of arrival, so the oldest leave first
}

type replayed struct {
	id    string
	until time.Time
}

// newReplayList makes a list that forgets an identifier after life. Life must
// be longer than anything carrying the identifier is otherwise accepted.
func newReplayList(life time.Duration) *replayList {
	return &replayList{life: life, seen: map[string]bool{}}
}

// first reports whether id was not seen within the list's time, and remembers it.
func (l *replayList) first(id string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	gone := 0
	for gone < len(l.order) && l.order[gone].until.Before(now) {
		delete(l.seen, l.order[gone].id)
		gone++
	}
	l.order = l.order[gone:]
	if l.seen[id] {
		return false
	}
	l.seen[id] = true
	l.order = append(l.order, replayed{id: id, until: now.Add(l.life)})
	return true
}

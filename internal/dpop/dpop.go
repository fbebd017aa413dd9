// Package dpop proves possession of a key to any server, as RFC 9449 wants it.
//
// A token that is bound to a key is worth nothing without a proof: a small JWT, signed with that key, which names the
// method and the address of one single request, the moment it was made, and a hash of the token that goes with it. A
// server takes each proof once, and for a short while only.
//
// # What is here
//
//   - [Key] is the key, and [Key.Proof] makes a proof. Nothing else on the way of a call costs as much as its signature,
//     so the rest of the proof is written by hand, without reflection and nearly without garbage.
//   - [HTU] and [Origin] say what a proof has to call the address of a request, so that it matches what net/http writes.
//   - [Nonces] remembers the last nonce of each server, [Challenges] reads what a server complains about.
//   - [Transport] is a round tripper that gives each request its proof at the last moment before it is written.
//
// The package knows no particular server. It sends nothing twice: what to do with a challenge is its caller's decision.
package dpop

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"time"
	"unicode/utf8"
)

// Claims is what one proof says (RFC 9449 section 4.2). The jti is not among them: every proof gets one of its own.
type Claims struct {
	// Method is the request's method exactly as sent (htm).
	Method string
	// URL is the address as [HTU] gives it (htu).
	URL string
	// Issued is the moment the proof is made, in the clock that the server trusts (iat, in whole seconds). If zero, now.
	Issued time.Time
	// Nonce is the server's last nonce. If empty, the proof has none.
	Nonce string
	// AccessToken is the token that goes with the request (its hash is ath). If empty, the proof is one for a token
	// endpoint and has no ath.
	AccessToken string
}

// String hides the token and the nonce, whatever the claims are printed with.
func (c Claims) String() string { return "dpop.Claims(" + c.Method + ")" }

// GoString is [Claims.String], for %#v.
func (c Claims) GoString() string { return c.String() }

// Proof makes a proof with a jti that is never used again: the compact form of a JWT, fit for the header DPoP as it is.
// It may be called by many goroutines at once.
//
// The signature is the deterministic one of RFC 6979, which costs least. It needs no randomness to be safe, and no two
// proofs have the same text to sign, since the jti alone has 130 random bits.
//
// It panics if the key cannot sign, which [KeyFrom] has tried.
func (k *Key) Proof(c Claims) string {
	var claimsSpace, proofSpace [1024]byte // longer addresses make append find more room
	claims := appendClaims(claimsSpace[:0], c, rand.Text())

	proof := append(proofSpace[:0], k.header...)
	proof = append(proof, '.')
	proof = base64.RawURLEncoding.AppendEncode(proof, claims)

	signature := k.sign(proof)
	proof = append(proof, '.')
	proof = base64.RawURLEncoding.AppendEncode(proof, signature[:])
	return string(proof)
}

// sign gives the signature of text in the form of RFC 7518 section 3.4: r and s, 32 bytes each.
func (k *Key) sign(text []byte) [2 * coordinate]byte {
	digest := sha256.Sum256(text)
	der, err := k.private.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		panic("BUG: a DPoP key that has signed before cannot sign")
	}
	signature, ok := rawSignature(der)
	if !ok {
		panic("BUG: an ECDSA signature is not what X.690 says")
	}
	return signature
}

// rawSignature turns SEQUENCE { INTEGER r, INTEGER s } into r and s side by side. For P-256 every length is one byte.
func rawSignature(der []byte) (raw [2 * coordinate]byte, ok bool) {
	const sequence, integer = 0x30, 0x02
	if len(der) < 2 || der[0] != sequence || int(der[1]) != len(der)-2 {
		return raw, false
	}
	rest := der[2:]
	for half := range 2 {
		if len(rest) < 2 || rest[0] != integer || int(rest[1]) > len(rest)-2 {
			return raw, false
		}
		number := rest[2 : 2+int(rest[1])]
		rest = rest[2+len(number):]
		if len(number) == coordinate+1 && number[0] == 0 { // a sign byte: the number's highest bit is set
			number = number[1:]
		}
		if len(number) > coordinate {
			return raw, false
		}
		end := (half + 1) * coordinate
		copy(raw[end-len(number):end], number)
	}
	return raw, len(rest) == 0
}

// appendClaims writes the payload. Method, URL and nonce may hold characters that JSON wants escaped: a host name may
// have a quotation mark, as far as net/url is concerned, and a nonce is another's text.
func appendClaims(dst []byte, c Claims, jti string) []byte {
	issued := c.Issued
	if issued.IsZero() {
		issued = time.Now()
	}
	dst = append(dst, `{"jti":"`...)
	dst = append(dst, jti...)
	dst = append(dst, `","htm":`...)
	dst = appendString(dst, c.Method)
	dst = append(dst, `,"htu":`...)
	dst = appendString(dst, c.URL)
	dst = append(dst, `,"iat":`...)
	dst = strconv.AppendInt(dst, issued.Unix(), 10)
	if c.AccessToken != "" {
		hash := sha256.Sum256([]byte(c.AccessToken))
		dst = append(dst, `,"ath":"`...)
		dst = base64.RawURLEncoding.AppendEncode(dst, hash[:])
		dst = append(dst, '"')
	}
	if c.Nonce != "" {
		dst = append(dst, `,"nonce":`...)
		dst = appendString(dst, c.Nonce)
	}
	return append(dst, '}')
}

// appendString writes s as a JSON string (RFC 8259 section 7). What is not UTF-8 becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		switch b := s[i]; {
		case b == '"' || b == '\\':
			dst = append(dst, '\\', b)
			i++
		case b < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&0xf])
			i++
		case b < utf8.RuneSelf:
			dst = append(dst, b)
			i++
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
		}
	}
	return append(dst, '"')
}

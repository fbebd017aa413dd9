package simulator

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // registers SHA-256 for [crypto.Hash]
	_ "crypto/sha512" // registers SHA-384 and SHA-512 for [crypto.Hash]
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"unicode/utf8"
)

// This file is the simulator's own reading of RFC 7515 (JWS) and RFC 7518
// (JWA). It shares no code with the product on purpose: two programs that use
// the same library agree on the library's mistakes as well.
//
// It is stricter than most libraries where strictness tells a client vendor
// something: padding, line breaks and stray bits in base64url are refused, and
// so are duplicate members, unknown critical headers and short keys.

// maxJWS bounds what is parsed at all; the largest honest token (an access
// token with every claim) is below 4 KiB.
const maxJWS = 64 << 10

// algorithms are the nine asymmetric signature algorithms that HelseID accepts,
// for client assertions and proofs alike.
var algorithms = map[string]algorithm{
	"RS256": {family: "RSA", hash: crypto.SHA256},
	"RS384": {family: "RSA", hash: crypto.SHA384},
	"RS512": {family: "RSA", hash: crypto.SHA512},
	"PS256": {family: "PSS", hash: crypto.SHA256},
	"PS384": {family: "PSS", hash: crypto.SHA384},
	"PS512": {family: "PSS", hash: crypto.SHA512},
	"ES256": {family: "EC", hash: crypto.SHA256, curve: "P-256"},
	"ES384": {family: "EC", hash: crypto.SHA384, curve: "P-384"},
	"ES512": {family: "EC", hash: crypto.SHA512, curve: "P-521"},
}

type algorithm struct {
	family string // RSA (PKCS #1 v1.5), PSS or EC
	hash   crypto.Hash
	curve  string // only for EC: RFC 7518 section 3.4 ties each to one curve
}

// jws is a parsed, not yet verified, compact JWS whose payload is a claims set.
type jws struct {
	header, claims map[string]any // numbers are json.Number
	input          string         // what was signed: the first two parts
	signature      []byte
}

// parseJWS reads a compact serialization (RFC 7515 section 7.1) whose header
// and payload are both JSON objects. Nothing about the signature is judged.
// Its errors never hold any part of s.
func parseJWS(s string) (*jws, error) {
	if len(s) > maxJWS {
		return nil, errors.New("the JWT is larger than 64 KiB")
	}
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		return nil, fmt.Errorf("a compact JWT has three parts separated by dots, this has %d", len(parts))
	}
	header, err := decodeObjectPart(parts[0])
	if err != nil {
		return nil, fmt.Errorf("the JWT's header %w", err)
	}
	claims, err := decodeObjectPart(parts[1])
	if err != nil {
		return nil, fmt.Errorf("the JWT's payload %w", err)
	}
	signature, err := decodeBase64URL(parts[2])
	if err != nil {
		return nil, fmt.Errorf("the JWT's signature %w", err)
	}
	return &jws{header: header, claims: claims, input: parts[0] + "." + parts[1], signature: signature}, nil
}

// alg returns the header's algorithm, or "".
func (j *jws) alg() string { return text(j.header, "alg") }

// verify checks the signature by pub with the algorithm that the header names.
// The algorithm must be one of the nine, fit the key, and no header may be
// critical, since the simulator understands no extension (RFC 7515 section 4.1.11).
func (j *jws) verify(pub crypto.PublicKey) error {
	alg, known := algorithms[j.alg()]
	if !known {
		return fmt.Errorf("alg %q is none of the nine asymmetric algorithms", j.alg())
	}
	if _, critical := j.header["crit"]; critical {
		return errors.New("the header has crit, and no extension is understood")
	}
	hasher := alg.hash.New()
	hasher.Write([]byte(j.input))
	digest := hasher.Sum(nil)
	switch key := pub.(type) {
	case *rsa.PublicKey:
		return verifyRSA(alg, key, digest, j.signature)
	case *ecdsa.PublicKey:
		return verifyEC(alg, key, digest, j.signature)
	default:
		return fmt.Errorf("a key of type %T verifies nothing here", pub)
	}
}

var errSignature = errors.New("the signature does not verify with the key")

func verifyRSA(alg algorithm, key *rsa.PublicKey, digest, signature []byte) error {
	var err error
	switch alg.family {
	case "RSA":
		err = rsa.VerifyPKCS1v15(key, alg.hash, digest, signature)
	case "PSS": // RFC 7518 section 3.5: the salt is as long as the hash
		err = rsa.VerifyPSS(key, alg.hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	default:
		return errors.New("alg is for EC keys but the key is RSA")
	}
	if err != nil {
		return errSignature
	}
	return nil
}

func verifyEC(alg algorithm, key *ecdsa.PublicKey, digest, signature []byte) error {
	if alg.family != "EC" {
		return errors.New("alg is for RSA keys but the key is EC")
	}
	if alg.curve != key.Curve.Params().Name {
		return fmt.Errorf("alg needs a key on %s, this one is on %s", alg.curve, key.Curve.Params().Name)
	}
	size := coordinateSize(key)
	if len(signature) != 2*size {
		return fmt.Errorf("the signature has %d bytes, this alg's R and S together have %d (RFC 7518 section 3.4)", len(signature), 2*size)
	}
	r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
	if !ecdsa.Verify(key, digest, r, s) {
		return errSignature
	}
	return nil
}

// coordinateSize is the length in bytes of one coordinate or of one half of a
// signature.
func coordinateSize(key *ecdsa.PublicKey) int { return (key.Curve.Params().BitSize + 7) / 8 }

// sign makes a compact JWS. The members alg and kid (left out when empty) are
// added to header, which may be nil and is not changed.
func sign(key crypto.Signer, alg, kid string, header, claims map[string]any) (string, error) {
	algorithm, known := algorithms[alg]
	if !known {
		return "", fmt.Errorf("signing: unknown alg %q", alg)
	}
	full := map[string]any{"alg": alg}
	for name, value := range header {
		full[name] = value
	}
	if kid != "" {
		full["kid"] = kid
	}
	first, err := encodeObjectPart(full)
	if err != nil {
		return "", fmt.Errorf("signing: encoding the header: %w", err)
	}
	second, err := encodeObjectPart(claims)
	if err != nil {
		return "", fmt.Errorf("signing: encoding the claims: %w", err)
	}
	input := first + "." + second
	signature, err := rawSignature(key, algorithm, input)
	if err != nil {
		return "", fmt.Errorf("signing with %s: %w", alg, err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func rawSignature(key crypto.Signer, alg algorithm, input string) ([]byte, error) {
	hasher := alg.hash.New()
	hasher.Write([]byte(input))
	digest := hasher.Sum(nil)
	var options crypto.SignerOpts = alg.hash
	if alg.family == "PSS" {
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: alg.hash}
	}
	pub, isEC := key.Public().(*ecdsa.PublicKey)
	if isEC != (alg.family == "EC") || (isEC && pub.Curve.Params().Name != alg.curve) {
		return nil, errors.New("the key does not fit the algorithm")
	}
	signature, err := key.Sign(rand.Reader, digest, options)
	if err != nil || !isEC {
		return signature, err
	}
	var pair struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(signature, &pair); err != nil {
		return nil, fmt.Errorf("reading the signer's answer: %w", err)
	}
	size := coordinateSize(pub)
	joined := make([]byte, 2*size)
	pair.R.FillBytes(joined[:size])
	pair.S.FillBytes(joined[size:])
	return joined, nil
}

func encodeObjectPart(object map[string]any) (string, error) {
	encoded, err := json.Marshal(object)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(encoded), nil
}

func decodeObjectPart(part string) (map[string]any, error) {
	raw, err := decodeBase64URL(part)
	if err != nil {
		return nil, err
	}
	return decodeObject(raw)
}

// decodeBase64URL is strict: no padding, no unused bits, and none of the line
// breaks that encoding/base64 passes over even when asked to be strict.
func decodeBase64URL(part string) ([]byte, error) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("has a line break inside base64url")
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, errors.New("is not base64url without padding")
	}
	return raw, nil
}

// decodeObject reads exactly one JSON object: valid UTF-8, no member twice at
// any depth, nothing after it. Numbers stay json.Number.
func decodeObject(raw []byte) (map[string]any, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("is not valid UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	value, err := decodeValue(decoder, 0)
	if err != nil {
		return nil, err
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("is not a JSON object")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("has something after the JSON object")
	}
	return object, nil
}

// maxDepth is deeper than any structure HelseID knows; it keeps hostile input
// from using up the stack.
const maxDepth = 32

var errNotJSON = errors.New("is not valid JSON")

// decodeValue exists because json.Unmarshal lets the last of two members of
// one name win, silently (RFC 7515 section 4 lets a reader refuse them).
func decodeValue(decoder *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("is nested too deeply")
	}
	token, err := decoder.Token()
	if err != nil {
		return nil, errNotJSON
	}
	switch token {
	case json.Delim('{'):
		return decodeMembers(decoder, depth)
	case json.Delim('['):
		return decodeElements(decoder, depth)
	default:
		return token, nil
	}
}

func decodeMembers(decoder *json.Decoder, depth int) (any, error) {
	object := map[string]any{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, errNotJSON
		}
		key, ok := name.(string)
		if !ok {
			return nil, errNotJSON
		}
		if _, twice := object[key]; twice {
			return nil, errors.New("has a member twice")
		}
		if object[key], err = decodeValue(decoder, depth+1); err != nil {
			return nil, err
		}
	}
	if _, err := decoder.Token(); err != nil { // the closing brace
		return nil, errNotJSON
	}
	return object, nil
}

func decodeElements(decoder *json.Decoder, depth int) (any, error) {
	list := []any{}
	for decoder.More() {
		value, err := decodeValue(decoder, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	if _, err := decoder.Token(); err != nil { // the closing bracket
		return nil, errNotJSON
	}
	return list, nil
}

// text returns the member as a string, or "" when it is absent or something
// else.
func text(object map[string]any, name string) string {
	value, _ := object[name].(string)
	return value
}

// seconds returns a NumericDate (RFC 7519 section 2); false when the
// member is absent or not a number. Strings are not numbers, whatever they hold.
func seconds(object map[string]any, name string) (float64, bool) {
	switch number := object[name].(type) {
	case json.Number:
		value, err := number.Float64()
		return value, err == nil
	case int64:
		return float64(number), true
	case float64:
		return number, true
	default:
		return 0, false
	}
}

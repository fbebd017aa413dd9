package simulator

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
)

// privateMembers are the members of RFC 7518 section 6 that belong to a
// private or symmetric key.
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

var curves = map[string]elliptic.Curve{
	"P-256": elliptic.P256(),
	"P-384": elliptic.P384(),
	"P-521": elliptic.P521(),
}

// publicKey reads a public JWK (RFC 7517): RSA of at least 2048 bits, or EC on
// P-256, P-384 or P-521. A private member is refused, since whoever sends one
// has just given the key away.
func publicKey(jwk map[string]any) (crypto.PublicKey, error) {
	for _, member := range privateMembers {
		if _, present := jwk[member]; present {
			return nil, fmt.Errorf("the jwk has the private member %q; send the public half only", member)
		}
	}
	switch kty := text(jwk, "kty"); kty {
	case "RSA":
		return rsaPublicKey(jwk)
	case "EC":
		return ecPublicKey(jwk)
	default:
		return nil, fmt.Errorf("the jwk's kty is %q; RSA and EC are accepted", kty)
	}
}

func rsaPublicKey(jwk map[string]any) (*rsa.PublicKey, error) {
	n, err := memberBytes(jwk, "n")
	if err != nil {
		return nil, err
	}
	e, err := memberBytes(jwk, "e")
	if err != nil {
		return nil, err
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	if modulus.BitLen() < 2048 {
		return nil, fmt.Errorf("the RSA key has %d bits; at least 2048 are wanted", modulus.BitLen())
	}
	if modulus.BitLen() > 8192 {
		return nil, fmt.Errorf("the RSA key has %d bits; at most 8192 are accepted", modulus.BitLen())
	}
	if exponent.BitLen() > 31 || exponent.Int64() < 3 || exponent.Bit(0) == 0 {
		return nil, errors.New("the RSA key's exponent is not an odd number between 3 and 2^31")
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, nil
}

func ecPublicKey(jwk map[string]any) (*ecdsa.PublicKey, error) {
	curve, known := curves[text(jwk, "crv")]
	if !known {
		return nil, fmt.Errorf("the jwk's crv is %q; P-256, P-384 and P-521 are accepted", text(jwk, "crv"))
	}
	size := (curve.Params().BitSize + 7) / 8
	point := []byte{4} // SEC 1 section 2.3.3: uncompressed
	for _, name := range []string{"x", "y"} {
		coordinate, err := memberBytes(jwk, name)
		if err != nil {
			return nil, err
		}
		if len(coordinate) != size {
			return nil, fmt.Errorf("the jwk's %s has %d bytes; this curve has %d (RFC 7518 section 6.2.1.2)", name, len(coordinate), size)
		}
		point = append(point, coordinate...)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, errors.New("the jwk's x and y are not a point on the curve")
	}
	return key, nil
}

func memberBytes(jwk map[string]any, name string) ([]byte, error) {
	value, ok := jwk[name].(string)
	if !ok || value == "" {
		return nil, fmt.Errorf("the jwk has no %s", name)
	}
	raw, err := decodeBase64URL(value)
	if err != nil {
		return nil, fmt.Errorf("the jwk's %s %w", name, err)
	}
	return raw, nil
}

// thumbprint is RFC 7638's, with SHA-256 and base64url: the required members
// of the key type in lexical order, without white space.
func thumbprint(jwk map[string]any) (string, error) {
	var names []string
	switch kty := text(jwk, "kty"); kty {
	case "RSA":
		names = []string{"e", "kty", "n"}
	case "EC":
		names = []string{"crv", "kty", "x", "y"}
	default:
		return "", fmt.Errorf("the jwk's kty is %q; RSA and EC are accepted", kty)
	}
	required := make(map[string]string, len(names))
	for _, name := range names {
		value := text(jwk, name)
		if value == "" {
			return "", fmt.Errorf("the jwk has no %s", name)
		}
		required[name] = value
	}
	encoded, err := json.Marshal(required) // sorts by name; base64url needs no escapes
	if err != nil {
		return "", fmt.Errorf("encoding the thumbprint's input: %w", err)
	}
	sum := sha256.Sum256(encoded)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

// publicJWK writes a public key as a JWK without use, alg or kid.
func publicJWK(pub crypto.PublicKey) (map[string]any, error) {
	encode := base64.RawURLEncoding.EncodeToString
	switch key := pub.(type) {
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "n": encode(key.N.Bytes()), "e": encode(big.NewInt(int64(key.E)).Bytes())}, nil
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			return nil, fmt.Errorf("encoding an EC key: %w", err)
		}
		size := coordinateSize(key)
		return map[string]any{"kty": "EC", "crv": key.Curve.Params().Name, "x": encode(point[1 : 1+size]), "y": encode(point[1+size:])}, nil
	default:
		return nil, fmt.Errorf("a key of type %T has no JWK here", pub)
	}
}

// privateJWK writes a private key as a JWK (RFC 7518 sections 6.2.2 and 6.3.2).
func privateJWK(key crypto.Signer) (map[string]any, error) {
	jwk, err := publicJWK(key.Public())
	if err != nil {
		return nil, err
	}
	encode := base64.RawURLEncoding.EncodeToString
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		d, err := key.Bytes()
		if err != nil {
			return nil, fmt.Errorf("encoding an EC key: %w", err)
		}
		jwk["d"] = encode(d)
	case *rsa.PrivateKey:
		key.Precompute()
		jwk["d"] = encode(key.D.Bytes())
		jwk["p"], jwk["q"] = encode(key.Primes[0].Bytes()), encode(key.Primes[1].Bytes())
		jwk["dp"], jwk["dq"] = encode(key.Precomputed.Dp.Bytes()), encode(key.Precomputed.Dq.Bytes())
		jwk["qi"] = encode(key.Precomputed.Qinv.Bytes())
	default:
		return nil, fmt.Errorf("a key of type %T has no JWK here", key)
	}
	return jwk, nil
}

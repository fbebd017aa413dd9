package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// The ways to come by claims. They are numbered, and both forms are read.
var generations = []string{
	"GenerateNone", "GenerateOnlyDefault", "GenerateOnlyFromNonEmptyParameterValues", "GenerateDefaultWithClaimsFromNonEmptyParameterValues",
}

// claimSet is one of the two sets of parameters of a test token.
type claimSet struct {
	generation, parameters string            // names of members
	names                  map[string]string // parameter → claim; all are texts
	special                map[string]func(claims map[string]any, value any) error
	defaults               func() map[string]any
}

var clientSet = claimSet{
	generation: "clientClaimsParametersGeneration", parameters: "clientClaimsParameters",
	names: map[string]string{
		"clientId": "client_id", "clientName": "helseid://claims/client/client_name", "clientTenancy": claimTenancy, "jti": "jti",
		"sfmJournalId": claimJournal, "orgnrParent": claimParent, "orgnrChild": claimChild, "orgnrSupplier": claimSupplier,
		"clientAuthenticationMethodsReferences": "client_amr",
	},
	special: map[string]func(map[string]any, any) error{
		"scope":                           textsClaim("scope"),
		"authenticationMethodsReferences": textsClaim("amr"),
		"cnfJkt":                          boundToThumbprint, "cnfPublicKey": boundToKey,
	},
	defaults: func() map[string]any {
		return map[string]any{
			"client_id": "simulated-test-token-client", "helseid://claims/client/client_name": "simulated-test-token-client",
			"client_amr": "private_key_jwt", "scope": []string{},
		}
	},
}

var userSet = claimSet{
	generation: "userClaimsParametersGeneration", parameters: "userClaimsParameters",
	names: map[string]string{
		"pid": claimPID, "pidPseudonym": "helseid://claims/identity/pid_pseudonym", "hprNumber": claimHPR, "name": "name",
		"givenName": "given_name", "middleName": "middle_name", "familyName": "family_name", "identityProvider": "idp",
		"securityLevel": claimLevel, "assuranceLevel": claimAssurance, "network": "helseid://claims/identity/network",
		"subject": "sub", "sid": "sid",
	},
	special: map[string]func(map[string]any, any) error{"amr": textsClaim("amr")},
	defaults: func() map[string]any {
		claims := map[string]any{}
		addPerson(claims, mintage{person: &Persons()[0]})
		return claims
	},
}

// addTestClaims fills in what the two sets and apiSpecificClaims say.
func addTestClaims(claims, body map[string]any) error {
	for _, set := range []claimSet{userSet, clientSet} {
		if err := set.add(claims, body); err != nil {
			return err
		}
	}
	list, isList := body["apiSpecificClaims"].([]any)
	if !isList && body["apiSpecificClaims"] != nil {
		return errors.New("apiSpecificClaims is no array")
	}
	for _, entry := range list {
		claim, _ := entry.(map[string]any)
		if text(claim, "type") == "" || text(claim, "value") == "" {
			return errors.New("apiSpecificClaims holds something without type and value")
		}
		claims[text(claim, "type")] = text(claim, "value")
	}
	return nil
}

// add fills in one set. Parameters that the generation would leave unused are
// refused: the real service would make a token without a word about them.
func (set claimSet) add(claims, body map[string]any) error {
	generation, err := readGeneration(body[set.generation])
	if err != nil {
		return fmt.Errorf("%s: %w", set.generation, err)
	}
	parameters, isObject := body[set.parameters].(map[string]any)
	if !isObject && body[set.parameters] != nil {
		return fmt.Errorf("%s is no object", set.parameters)
	}
	used := generation == 2 || generation == 3
	if generation == 1 || generation == 3 {
		maps.Copy(claims, set.defaults())
	}
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		value := parameters[name]
		if value == nil || value == "" {
			continue
		}
		if !used {
			return fmt.Errorf("%s has values, and %s does not say that they count", set.parameters, set.generation)
		}
		if err := set.addOne(claims, name, value); err != nil {
			return fmt.Errorf("%s.%s: %w", set.parameters, name, err)
		}
	}
	return nil
}

func (set claimSet) addOne(claims map[string]any, name string, value any) error {
	if apply, is := set.special[name]; is {
		return apply(claims, value)
	}
	claim, known := set.names[name]
	if !known {
		return errors.New("no such parameter")
	}
	written, ok := value.(string)
	if !ok {
		return errors.New("must be a text")
	}
	claims[claim] = written
	return nil
}

// readGeneration takes a name or a number; nothing is 0, GenerateNone.
func readGeneration(value any) (int, error) {
	switch value := value.(type) {
	case nil:
		return 0, nil
	case string:
		if at := slices.Index(generations, value); at >= 0 {
			return at, nil
		}
	case json.Number:
		if at, err := strconv.Atoi(value.String()); err == nil && at >= 0 && at < len(generations) {
			return at, nil
		}
	}
	return 0, errors.New("none of the four ways to generate claims")
}

func textsClaim(claim string) func(map[string]any, any) error {
	return func(claims map[string]any, value any) error {
		list, ok := value.([]any)
		if !ok || slices.ContainsFunc(list, func(entry any) bool { _, isText := entry.(string); return !isText }) {
			return errors.New("must be an array of texts")
		}
		claims[claim] = list
		return nil
	}
}

// boundToThumbprint binds the token to the key that the asker will prove.
func boundToThumbprint(claims map[string]any, value any) error {
	written, _ := value.(string)
	if !challengeForm.MatchString(written) { // the same form: base64url of a SHA-256
		return errors.New("must be the base64url of a SHA-256 thumbprint")
	}
	if claims["cnf"] != nil {
		return errors.New("give one of cnfJkt and cnfPublicKey")
	}
	claims["cnf"] = map[string]any{"jkt": written}
	return nil
}

func boundToKey(claims map[string]any, value any) error {
	written, _ := value.(string)
	jwk, err := decodeObject([]byte(written))
	if err != nil {
		return fmt.Errorf("the public JWK, as a text, %w", err)
	}
	if _, err := publicKey(jwk); err != nil {
		return err
	}
	digest, err := thumbprint(jwk)
	if err != nil {
		return err
	}
	return boundToThumbprint(claims, digest)
}

package dpop_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"sfm-sidecar/internal/dpop"
)

// A proof for a call to a resource server names the method, the address and the token.
func ExampleKey_Proof() {
	key, err := dpop.NewKey()
	if err != nil {
		panic(err)
	}
	address, err := url.Parse("https://sfm.example:443/Patient/$getMedication?count=1")
	if err != nil {
		panic(err)
	}
	proof := key.Proof(dpop.Claims{Method: "POST", URL: dpop.HTU(address), AccessToken: "the token of the Authorization header"})
	fmt.Println("parts of the proof:", len(strings.Split(proof, ".")))
	fmt.Println("htu:", dpop.HTU(address))
	// Output:
	// parts of the proof: 3
	// htu: https://sfm.example/Patient/$getMedication
}

// A server that wants a nonce says so in a challenge; the answer that carries it brings the nonce, too.
func ExampleChallenges() {
	answer := http.Header{}
	answer.Set("WWW-Authenticate", `Bearer, DPoP error="use_dpop_nonce", algs="ES256"`)
	for _, challenge := range dpop.Challenges(answer) {
		fmt.Printf("%s %q\n", challenge.Scheme, challenge.Error)
	}
	// Output:
	// Bearer ""
	// DPoP "use_dpop_nonce"
}

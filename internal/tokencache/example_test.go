package tokencache_test

import (
	"context"
	"fmt"
	"time"

	"sfm-sidecar/internal/tokencache"
)

// Two calls for the same person and tenant need one token request.
func ExampleCache_Token() {
	cache, err := tokencache.New(tokencache.Options{RefreshBefore: 5 * time.Minute, Leeway: 30 * time.Second})
	if err != nil {
		panic(err)
	}
	defer cache.Close()

	mint := func(context.Context) (*tokencache.Token, error) {
		fmt.Println("asking HelseID")
		return &tokencache.Token{AccessToken: "…", Type: "DPoP", Sent: time.Now(), Lifetime: time.Hour}, nil
	}
	key := tokencache.Key{Subject: "session", Parent: "100100126", Child: "999944582"}
	for range 2 {
		token, err := cache.Token(context.Background(), key, mint)
		if err != nil {
			panic(err)
		}
		fmt.Println(token)
	}
	// Output:
	// asking HelseID
	// tokencache.Token(DPoP, 1h0m0s)
	// tokencache.Token(DPoP, 1h0m0s)
}

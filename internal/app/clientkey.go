package app

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/helseid"
)

// keyLook is how often the file of the client key is read again. It is read, not
// watched: that works on every file system, and when Kubernetes swaps the link
// that leads to it.
const keyLook = 5 * time.Second

// clientKeys parses the client's key. A key that can't be used is a fault of the
// configuration.
func clientKeys(c config.HelseID) (*helseid.KeyRing, error) {
	key, err := helseid.ParseKeys([]byte(c.ClientJWK.Reveal()))
	if err == nil {
		return helseid.NewKeyRing(key), nil
	}
	variable := "HELSEID_CLIENT_JWK"
	if c.ClientJWKFile != "" {
		variable += "_FILE"
	}
	return nil, config.Faults{{
		Variable: variable, Problem: "holds no key that can sign: " + err.Error(),
		Mend: "give the client's private key as JWK, JWKS or PKCS#8 PEM, the one whose public half is registered at HelseID",
	}}
}

// watchKey takes up a new client key when its file changes from what was loaded,
// until ctx ends. A file that can't be used leaves the key as it is, and is
// spoken of once.
func watchKey(ctx context.Context, path, loaded string, ring *helseid.KeyRing, log *slog.Logger) {
	seen := bytes.TrimSpace([]byte(loaded))
	ticker := time.NewTicker(keyLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, err := os.ReadFile(path)
		now = bytes.TrimSpace(now)
		if err != nil || bytes.Equal(now, seen) {
			continue
		}
		seen = now
		key, err := helseid.ParseKeys(now)
		if err != nil {
			log.Error("the new client key can't be used, the old one stays", "reason", err)
			continue
		}
		before := ring.Current().Thumbprint()
		ring.Replace(key)
		if key.Thumbprint() != before { // else the file changed in what is beside the key
			log.Info("took up a new client key", "kid", key.KeyID())
		}
	}
}

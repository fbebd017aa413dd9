package app

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zalando/go-keyring"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
	"sfm-sidecar/internal/telemetry"
)

func TestIdentityIsReadBack(t *testing.T) {
	made, err := newIdentity("v2 a b")
	if err != nil {
		t.Fatal(err)
	}
	first, err := parseIdentity(made)
	if err != nil || len(first.Secret) != 32 || first.Terms != "v2 a b" {
		t.Fatalf("secret of %d bytes, terms %q, %v", len(first.Secret), first.Terms, err)
	}
	second, err := parseIdentity(made)
	if err != nil {
		t.Fatal(err)
	}
	one, err := first.dpopKey()
	if err != nil {
		t.Fatal(err)
	}
	two, err := second.dpopKey()
	if err != nil || one.Thumbprint() != two.Thumbprint() || !bytes.Equal(first.Secret, second.Secret) {
		t.Errorf("another key or secret, %v", err)
	}
	other, err := newIdentity("v2 a b")
	if err != nil {
		t.Fatal(err)
	}
	third, err := parseIdentity(other)
	if err != nil || bytes.Equal(third.Secret, first.Secret) || bytes.Equal(third.DPoPKey, first.DPoPKey) {
		t.Errorf("two identities are alike, %v", err)
	}
	// Without one, every process has a key of its own.
	var none identity
	a, errA := none.dpopKey()
	b, errB := none.dpopKey()
	if errA != nil || errB != nil || a.Thumbprint() == b.Thumbprint() {
		t.Errorf("%v, %v", errA, errB)
	}
}

func TestIdentityThatIsNotWhole(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret := make([]byte, 32)
	for name, i := range map[string]any{
		"nothing": nil, "no key": identity{Secret: secret}, "short secret": identity{Secret: secret[:31], DPoPKey: pkcs8(t, p384)},
		"no key at all": identity{Secret: secret, DPoPKey: []byte("marked")}, "RSA": identity{Secret: secret, DPoPKey: pkcs8(t, rsaKey)},
		"another curve": identity{Secret: secret, DPoPKey: pkcs8(t, p384)},
	} {
		raw, err := json.Marshal(i)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseIdentity(raw); err == nil || strings.Contains(err.Error(), "marked") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := parseIdentity([]byte("{")); err == nil {
		t.Error("took half a document")
	}
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// Two sidecars never share entries, and the name tells nothing.
func TestKeyringServiceIsTheSidecarsOwn(t *testing.T) {
	of := func(issuer, client, listen string) string {
		c := new(config.Config)
		c.HelseID.Issuer, c.HelseID.ClientID, c.Listen.Address = issuer, client, listen
		return keyringService(c)
	}
	base := of("https://helseid.example", "client", "127.0.0.1:8080")
	if base != of("https://helseid.example", "client", "127.0.0.1:8080") || !strings.HasPrefix(base, "sfm-sidecar/") || strings.Contains(base, "client") {
		t.Error(base)
	}
	for _, other := range []string{
		of("https://helseid.example.org", "client", "127.0.0.1:8080"), of("https://helseid.example", "client2", "127.0.0.1:8080"),
		of("https://helseid.example", "client", "127.0.0.1:8081"), of("https://helseid.examplec", "lient", "127.0.0.1:8080"),
	} {
		if other == base {
			t.Errorf("shared: %s", other)
		}
	}
}

// Active sessions alone go to the key store, and the end leaves nothing running:
// a goroutine that stays fails the bubble.
func TestHouseWithAKeyring(t *testing.T) {
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
	synctest.Test(t, func(t *testing.T) {
		keyring.MockInit()
		cfg := new(config.Config)
		cfg.Keep.SessionStore, cfg.Keep.CacheEntries = config.StoreKeyring, 1
		h := &house{cfg: cfg, log: slog.New(slog.DiscardHandler), metrics: telemetry.NewMetrics("test")}
		if err := errors.Join(h.buildStore(), h.buildCache()); err != nil {
			t.Fatal(err)
		}
		for id, want := range map[string]bool{"pending": false, "expired": false, "active": true} {
			key := store.Key{Kind: session.KindRecord, ID: id}
			if err := h.store.Put(t.Context(), key, []byte(`{"state":"`+id+`","begun":"2026-01-01T00:00:00Z"}`), time.Hour); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if _, err := keyring.Get(keyringService(cfg), "session/"+id); (err == nil) != want {
				t.Errorf("%s: %v", id, err)
			}
		}
		h.cache.Close()
		h.closeStore()
	})
}

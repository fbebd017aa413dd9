package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/dpop"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/store"
)

// buildStore opens where sessions are kept. A key store that does not answer is a
// fault of the configuration: whoever asked for it would believe log-ins kept.
func (h *house) buildStore() error {
	if h.cfg.Keep.Shared() {
		return h.openShared()
	}
	if h.cfg.Keep.SessionStore != config.StoreKeyring {
		h.store = store.NewMemory()
		return nil
	}
	terms := loginTerms(h.cfg)
	kept, err := store.OpenKeyring(store.KeyringOptions{
		Service: keyringService(h.cfg),
		Record:  session.KindRecord, Note: session.KindUsed, Kept: session.Lives, Refresh: session.KindRefresh,
		Root: func() ([]byte, error) { return newIdentity(terms) },
		Usable: func(root []byte) bool {
			i, err := parseIdentity(root)
			return err == nil && i.Terms == terms
		},
		Warn: func(what string, err error) { h.warn(what, slog.String("reason", fmt.Sprint(err))) },
	})
	if err != nil {
		return config.Faults{{
			Variable: "SIDECAR_SESSION_STORE", Problem: "is keyring, and no key store of the operating system can be used: " + err.Error(),
			Mend: "start the sidecar within the session of the person whose key store is unlocked" +
				" (on Linux a Secret Service such as GNOME Keyring or KWallet, on that session's D-Bus), or unset it",
		}}
	}
	h.store = kept
	h.kept, err = parseIdentity(kept.Root())
	return err
}

// closeStore ends a store that writes in the background.
func (h *house) closeStore() {
	switch kept := h.store.(type) {
	case *store.Keyring:
		kept.Close()
	case *store.Redis:
		if err := kept.Close(); err != nil {
			h.log.Debug("closing the shared store", "cause", err)
		}
	}
}

// keyringService names the items of one sidecar in the key store. Two clients do
// not share sessions; neither do two sidecars of one client on one machine, which
// are told apart by where they listen: both would use up the same refresh tokens.
func keyringService(c *config.Config) string {
	sum := sha256.New()
	for _, part := range []string{c.HelseID.Issuer, c.HelseID.ClientID, c.Listen.Address} {
		_, _ = fmt.Fprintf(sum, "%d:%s", len(part), part)
	}
	return "sfm-sidecar/" + base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:12])
}

// loginTerms is what a log-in was asked for. A session that was made on other
// terms can't be refreshed on these.
func loginTerms(c *config.Config) string {
	return c.SFM.API + " " + c.HelseID.Tenancy + " " + strings.Join(c.AllLoginScopes(), " ")
}

// identity is what kept sessions are worth nothing without. It is made once and
// lies in the key store.
type identity struct {
	// Secret keys the hashes of the session handles.
	Secret []byte `json:"secret"`
	// DPoPKey is the PKCS #8 form of the key that HelseID may have bound refresh
	// tokens to (RFC 9449 section 5).
	DPoPKey []byte `json:"dpop_key"`
	// Terms are those on which sessions were made, see loginTerms.
	Terms string `json:"terms"`
}

func newIdentity(terms string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the DPoP key: %w", err)
	}
	i := identity{Secret: make([]byte, 32), Terms: terms}
	_, _ = rand.Read(i.Secret) // never fails: crypto/rand
	if i.DPoPKey, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return nil, fmt.Errorf("encoding the DPoP key: %w", err)
	}
	return json.Marshal(i)
}

// parseIdentity reads an identity that is whole.
func parseIdentity(raw []byte) (identity, error) {
	var i identity
	if json.Unmarshal(raw, &i) != nil || len(i.Secret) < 32 || len(i.DPoPKey) == 0 {
		return identity{}, errors.New("the identity in the key store can't be read")
	}
	_, err := i.dpopKey()
	return i, err
}

// dpopKey is the kept key, or a new one where none is kept.
func (i identity) dpopKey() (*dpop.Key, error) {
	if i.DPoPKey == nil {
		return dpop.NewKey()
	}
	return parseDPoPKey(i.DPoPKey)
}

// parseDPoPKey reads a key that was kept, in its PKCS #8 form.
func parseDPoPKey(raw []byte) (*dpop.Key, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(raw)
	if err != nil {
		return nil, errors.New("the DPoP key that was kept can't be read") // err might quote it
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the DPoP key that was kept is of another kind")
	}
	return dpop.KeyFrom(key)
}

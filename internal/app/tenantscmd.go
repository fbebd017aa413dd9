package app

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/desk"
	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/register"
	"sfm-sidecar/internal/tenantmap"
)

// tenantVariables are what the tenants commands go by. The others may be missing: a registry is looked over before
// there is a client at HelseID.
var tenantVariables = []string{
	"TENANTS_FILE", "SIDECAR_ORGNR_CHECK", "BRREG_URL", "HELSEID_TENANCY", "HELSEID_ASSERTION_CLAIM", "HELSEID_PARENT_ONLY_FORM",
	"SIDECAR_CALLER_KEY", "SIDECAR_CALLER_KEY_FILE",
}

// tenants carries out "sidecar tenants".
func tenants(ctx context.Context, o Options) int {
	cfg, err := config.LoadPart(o.Environ, tenantVariables...)
	if err != nil {
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: %v\n", err)
		return exitUsage
	}
	transport, err := registerTransport(cfg)
	if err != nil {
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: %v\n", err)
		return exitUsage
	}
	details := helseid.Options{
		Tenancy: cfg.HelseID.Tenancy, AssertionClaim: cfg.HelseID.AssertionClaim, ParentOnlyForm: cfg.HelseID.ParentOnlyForm,
	}
	return desk.Run(ctx, desk.Options{
		Args: o.Args, Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr,
		Color:       terminal(o.Stdout) && !set(o.Environ, "NO_COLOR"),
		Interactive: terminal(o.Stdout) && terminal(o.Stdin),
		File:        cfg.Tenants.File, Strict: cfg.Tenants.OrgnrCheck == "strict",
		Claim: func(t tenantmap.Tenant) (string, json.RawMessage) { return details.Details(helseid.Tenant(t)) },
		Brreg: func() (desk.Brreg, error) {
			return register.NewBrreg(register.Options{URL: cfg.Tenants.BrregURL, Transport: transport})
		},
		Do: (&callersClient{key: cfg.Listen.CallerKey, client: &http.Client{
			Transport: &http.Transport{}, Timeout: 2 * time.Minute, CheckRedirect: refuseRedirect, // no proxy: it is this machine
		}}).do,
	})
}

// registerTransport reaches public registers, as HelseID and SFM are reached: through the proxy, trusting the same
// authorities.
func registerTransport(cfg *config.Config) (http.RoundTripper, error) {
	h := house{cfg: cfg}
	if err := h.buildRoots(); err != nil {
		return nil, err
	}
	return &http.Transport{
		Proxy: cfg.Keep.Proxy(), TLSClientConfig: &tls.Config{RootCAs: h.roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
	}, nil
}

// callersClient calls a running sidecar as an EPJ does, with the caller key where one is configured.
type callersClient struct {
	key    config.Secret
	client *http.Client
}

// do sends a request. Neither key nor session may leave the machine, so only a loopback address is called.
func (c *callersClient) do(r *http.Request) (*http.Response, error) {
	host := r.URL.Hostname()
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, errors.New("only a sidecar on this machine is asked")
	}
	if key := c.key.Reveal(); key != "" {
		r.Header.Set("Sidecar-Key", key)
	}
	return c.client.Do(r)
}

func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// set reports whether an environment has a variable with any value but the empty one.
func set(environ []string, name string) bool {
	for _, pair := range environ {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			return value != ""
		}
	}
	return false
}

// terminal reports whether a person sits at the other end of a stream. The empty device is a character device too.
func terminal(stream any) bool {
	file, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	nothing, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, nothing)
}

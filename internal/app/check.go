package app

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/doctor"
	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/proxy"
	"sfm-sidecar/internal/telemetry"
	"sfm-sidecar/internal/tenantmap"
)

const checkUsage = `usage: sidecar check [flags] [ALIAS|PARENT[:CHILD]@JOURNAL ...]

  --login                     a person logs in, and tokens are that person's
  --learn                     answer what is not known of this HelseID
  --test-tokens URL           use tokens of HelseID's test token service, not the client
  --test-token-key-file FILE  file with the API key for that service
  -o text|json                how to print the report

Tokens are asked for the tenants that are named. See docs/check.md.
`

// checkAsk is the command line of sidecar check.
type checkAsk struct {
	login, learn      bool
	tests, testKey    string
	output            string
	named             []string
	testTokens        *url.URL
	testKeyForService string
}

// maxNamed bounds the tenants of one check: each costs HelseID a token.
const maxNamed = 50

// readCheck reads the command line. Flags may stand behind names.
func readCheck(args []string) (checkAsk, error) {
	var a checkAsk
	flags := flag.NewFlagSet("check", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	flags.BoolVar(&a.login, "login", false, "")
	flags.BoolVar(&a.learn, "learn", false, "")
	flags.StringVar(&a.tests, "test-tokens", "", "")
	flags.StringVar(&a.testKey, "test-token-key-file", "", "")
	flags.StringVar(&a.output, "o", "text", "")
	for len(args) > 0 {
		if err := flags.Parse(args); err != nil {
			return a, err
		}
		if args = flags.Args(); len(args) > 0 {
			a.named, args = append(a.named, args[0]), args[1:]
		}
	}
	switch {
	case a.output != "text" && a.output != "json":
		return a, errors.New("-o takes text or json")
	case len(a.named) > maxNamed:
		return a, fmt.Errorf("at most %d tenants can be named at once", maxNamed)
	case (a.tests == "") != (a.testKey == ""):
		return a, errors.New("--test-tokens and --test-token-key-file go together")
	case a.tests != "" && (a.login || a.learn):
		return a, errors.New("--test-tokens asks nothing about the client, so --login and --learn do not go with it")
	}
	return a, a.readTestTokens()
}

// maxTestKey bounds the file of the test token service's key.
const maxTestKey = 4 << 10

func (a *checkAsk) readTestTokens() error {
	if a.tests == "" {
		return nil
	}
	var err error
	if a.testTokens, err = url.Parse(a.tests); err != nil {
		return errors.New("--test-tokens is no URL")
	}
	if err := doctor.CheckTestTokens(a.testTokens); err != nil {
		return fmt.Errorf("--test-tokens: %w", err)
	}
	key, err := os.ReadFile(a.testKey)
	key = bytes.TrimSpace(key)
	switch {
	case err != nil:
		return fmt.Errorf("--test-token-key-file: %w", err)
	case len(key) == 0 || len(key) > maxTestKey || bytes.ContainsAny(key, "\r\n\x00"):
		return errors.New("--test-token-key-file: the file must hold the API key alone, on one line")
	}
	a.testKeyForService = string(key)
	return nil
}

// check examines the set-up and prints what it found.
func check(ctx context.Context, o Options) int {
	ask, err := readCheck(o.Args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = fmt.Fprint(o.Stdout, checkUsage)
		return exitDone
	}
	if err != nil {
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: check: %v\nsee sidecar check -h\n", err)
		return exitUsage
	}
	cfg, warnings, err := config.Load(o.Environ)
	if err != nil {
		return misconfigured(o, ask, warnings, err)
	}
	h, err := newClinic(cfg, versionOf(o))
	if err != nil {
		return misconfigured(o, ask, warnings, err)
	}
	d := h.doctorOptions(ask, warnings)
	closeStore, err := h.addStore(&d)
	if err != nil {
		return misconfigured(o, ask, warnings, err)
	}
	defer closeStore()
	if d.Tenants, err = h.named(ask.named); err == nil && ask.login && !d.Person {
		err = errors.New("--login needs the grant user in HELSEID_GRANT")
	}
	if err == nil {
		d.Registration, err = h.registrar()
	}
	if err != nil {
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: check: %v\n", err)
		return exitUsage
	}
	if ask.login {
		door := h.openDoor(ctx, &d)
		defer door.close()
		d.Invite = func(address string, wait time.Duration) {
			_, _ = fmt.Fprintf(o.Stderr, "\nOpen this address in a browser on this machine and log in (within %s):\n\n  %s\n\n", wait, address)
		}
	}
	report := doctor.Run(ctx, d)
	if err := printReport(o, ask, report); err != nil {
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: check: %v\n", err)
		return exitFailed
	}
	if report.Failed() {
		return exitFailed
	}
	return exitDone
}

// misconfigured prints the faults as serve does, or as a report for programs.
func misconfigured(o Options, ask checkAsk, warnings []config.Warning, err error) int {
	faults, isFaults := errors.AsType[config.Faults](err)
	lines := []string{err.Error()}
	if isFaults {
		lines = strings.Split(faults.Error(), "\n")
	}
	if ask.output == "json" {
		if err := doctor.Misconfigured(lines).WriteJSON(o.Stdout); err != nil {
			_, _ = fmt.Fprintf(o.Stderr, "sidecar: check: %v\n", err)
		}
	} else {
		for _, w := range warnings {
			_, _ = fmt.Fprintln(o.Stderr, "sidecar: warning:", w)
		}
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: %v\n", err)
	}
	if isFaults {
		return exitUsage
	}
	return exitFailed
}

func printReport(o Options, ask checkAsk, report *doctor.Report) error {
	if ask.output == "json" {
		return report.WriteJSON(o.Stdout)
	}
	return report.WriteText(o.Stdout, coloured(o))
}

// coloured reports whether what is printed may have colours: on a terminal, and
// where NO_COLOR (no-color.org) is unset or empty.
func coloured(o Options) bool {
	return terminal(o.Stdout) && !set(o.Environ, "NO_COLOR")
}

// newClinic builds the rooms that a check needs: those that speak to others. The
// sessions of a running sidecar are not touched, nor its DPoP key.
func newClinic(cfg *config.Config, version string) (*house, error) {
	h := &house{cfg: cfg, log: slog.New(slog.DiscardHandler), metrics: telemetry.NewMetrics(version)}
	for _, step := range []func() error{h.buildRoots, h.buildKeys, h.buildHelseID, h.buildTenants} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// withForm is the HelseID client with another form of a parent without child.
func (h *house) withForm(form string) (doctor.HelseID, error) {
	cfg := *h.cfg
	cfg.HelseID.ParentOnlyForm = form
	other := &house{cfg: &cfg, log: h.log, metrics: h.metrics, roots: h.roots, key: h.key, keys: h.keys}
	if err := other.buildHelseID(); err != nil {
		return nil, err
	}
	return other.helseID, nil
}

// visitTimeout is how long an upstream may think about a question without work.
const visitTimeout = 10 * time.Second

func (h *house) doctorOptions(ask checkAsk, warnings []config.Warning) doctor.Options {
	c := h.cfg.HelseID
	redirect, _ := pageAddresses(c.RedirectURI, portOf(h.cfg.Listen.Callback))
	plain := proxy.NewTransport(proxy.TransportOptions{ResponseTimeout: visitTimeout, CA: h.roots, Proxy: h.cfg.Keep.Proxy()})
	d := doctor.Options{
		Key: h.keyFacts(), Issuer: c.Issuer, ClientID: c.ClientID, HelseID: h.helseID, SingleTenant: c.Tenancy == helseid.TenancySingle,
		WithForm: h.withForm, ParentOnlyForm: c.ParentOnlyForm,
		DPoP: h.key != nil, SystemClock: h.cfg.Keep.Clock == config.ClockSystem,
		Machine: slices.Contains(c.Grants, config.GrantClientCredentials), Person: slices.Contains(c.Grants, config.GrantUser),
		Authorization: doctor.Authorization{
			RedirectURI: redirect, PostLogoutRedirectURI: c.PostLogoutRedirectURI,
			Scopes: h.cfg.AllLoginScopes(), Extra: h.loginParams(),
			NamesTenant: c.LoginTenant == config.LoginTenantRequestObject,
		},
		Login: ask.login, Learn: ask.learn, Request: h.checkRequest, Plain: plain,
	}
	for _, w := range warnings {
		d.Warnings = append(d.Warnings, w.String())
	}
	for _, u := range h.cfg.SFM.Upstreams {
		d.Upstreams = append(d.Upstreams, doctor.Upstream{Name: u.Name, URL: u.URL})
	}
	if ask.testTokens != nil {
		d.TestTokens = h.testTokens(ask)
	}
	return d
}

// checkRequest is the token that a call to the first upstream would ask for.
func (h *house) checkRequest(t helseid.Tenant, person bool) helseid.Request {
	grant, first := config.GrantClientCredentials, h.upstreams()[0]
	if person {
		grant = config.GrantUser
	}
	return h.tokens().request(proxy.Ask{
		Tenant: tenantmap.Tenant(t), Person: proxy.Person{Grant: grant}, Upstream: &first,
	})
}

func (h *house) testTokens(ask checkAsk) *doctor.TestTokens {
	first := h.upstreams()[0]
	t := &doctor.TestTokens{
		URL: ask.testTokens, Key: ask.testKeyForService,
		Transport: proxy.NewTransport(proxy.TransportOptions{ResponseTimeout: visitTimeout, CA: h.roots, Proxy: h.cfg.Keep.Proxy()}),
		Proving:   h.transport(),
		ClientID:  h.cfg.HelseID.ClientID, Tenancy: h.cfg.HelseID.Tenancy, Scheme: first.Scheme,
		Scopes: first.Scopes, Audience: first.Audience, Supplier: h.cfg.HelseID.SupplierOrgnr, Person: h.cfg.HelseID.Grants[0] != config.GrantClientCredentials,
	}
	if h.key != nil {
		t.Thumbprint = h.key.Current().Thumbprint()
	}
	return t
}

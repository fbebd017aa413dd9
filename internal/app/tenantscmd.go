package app

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/desk"
	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/selvbetjening"
	"sfm-sidecar/internal/tenantmap"
)

// tenantVariables are what the tenants commands go by. The others may be missing: a
// registry is looked over before there is a client at HelseID.
var tenantVariables = []string{
	"TENANTS_FILE", "SIDECAR_ORGNR_CHECK", "BRREG_URL", "HELSEID_TENANCY", "HELSEID_ASSERTION_CLAIM", "HELSEID_PARENT_ONLY_FORM",
	"SIDECAR_CALLER_KEY", "SIDECAR_CALLER_KEY_FILE",
}

// tenants carries out "sidecar tenants".
func tenants(ctx context.Context, o Options) int {
	cfg, err := config.LoadPart(o.Environ, tenantVariables...)
	if err != nil {
		return desk.Misconfigured(desk.Options{Args: o.Args, Stdout: o.Stdout, Stderr: o.Stderr}, err)
	}
	details := helseid.Options{
		Tenancy: cfg.HelseID.Tenancy, AssertionClaim: cfg.HelseID.AssertionClaim, ParentOnlyForm: cfg.HelseID.ParentOnlyForm,
	}
	speaker := &speaker{environ: o.Environ}
	defer speaker.close()
	caller := callersClient{key: cfg.Listen.CallerKey, client: &http.Client{
		Transport: &http.Transport{}, Timeout: 2 * time.Minute, CheckRedirect: refuseRedirect, // no proxy: it is this machine
	}}
	return desk.Run(ctx, desk.Options{
		Args: o.Args, Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr,
		Color:       coloured(o),
		Interactive: terminal(o.Stdout) && terminal(o.Stdin),
		File:        cfg.Tenants.File, Strict: cfg.Tenants.OrgnrCheck == "strict",
		Claim:     func(t tenantmap.Tenant) (string, json.RawMessage) { return details.Details(helseid.Tenant(t)) },
		Brreg:     func() (desk.Brreg, error) { return brreg(cfg) },
		Addresses: speaker.addresses,
		Status:    speaker.status,
		Do:        caller.do,
	})
}

// speaker is the client speaking for itself to the registers that want a token. The
// whole configuration is read when one is asked, and not before.
type speaker struct {
	environ []string
	machine *machine
}

// ready makes the client ready to speak.
func (s *speaker) ready() error {
	if s.machine != nil {
		return nil
	}
	cfg, _, err := config.Load(s.environ)
	if err != nil {
		return unready(err)
	}
	keys, err := clientKeys(cfg.HelseID)
	if err != nil {
		return err
	}
	s.machine, err = newMachine(cfg, keys)
	return err
}

// unready says on one line why the client can't speak.
func unready(err error) error {
	faults, ok := errors.AsType[config.Faults](err)
	if !ok || len(faults) == 0 {
		return err
	}
	f := faults[0]
	return &unasked{problem: "it wants a token of the HelseID client, and " + f.Variable + " " + f.Problem, mend: f.Mend}
}

// unasked is a register that the configuration does not let us ask.
type unasked struct{ problem, mend string }

func (u *unasked) Error() string { return u.problem }

// Hint says what to do about it.
func (u *unasked) Hint() string { return u.mend }

func (s *speaker) addresses() (desk.Addresses, error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	register, err := s.machine.addresses()
	if faults, ok := errors.AsType[config.Faults](err); ok {
		return nil, &unasked{problem: faults[0].Variable + " " + faults[0].Problem, mend: faults[0].Mend}
	}
	return register, err
}

// status asks HelseID Selvbetjening how far a tenant has come.
func (s *speaker) status(ctx context.Context, parent string) (desk.TenantStatus, error) {
	if err := s.ready(); err != nil {
		return desk.TenantStatus{}, err
	}
	api, err := s.machine.selvbetjening()
	if err != nil {
		return desk.TenantStatus{}, unready(err)
	}
	var lister selvbetjening.TenantLister = api
	all, err := lister.Tenants(ctx)
	if err != nil {
		return desk.TenantStatus{}, err
	}
	i := slices.IndexFunc(all, func(t selvbetjening.Tenant) bool { return t.Orgnr == parent })
	if i < 0 {
		return desk.TenantStatus{Missing: []string{"it is not among the client's tenants"}}, nil
	}
	status := desk.TenantStatus{Active: all[i].Status == selvbetjening.TenantActive}
	if !all[i].Delegation {
		status.Missing = append(status.Missing, "the delegation in Altinn, at the parent")
	}
	for _, term := range all[i].Terms {
		if !term.Signed {
			status.Missing = append(status.Missing, "the signature under "+term.Name)
		}
	}
	return status, nil
}

func (s *speaker) close() {
	if s.machine != nil {
		s.machine.close()
	}
}

// callersClient calls a running sidecar as an EPJ does, with the caller key where
// one is configured.
type callersClient struct {
	key    config.Secret
	client *http.Client
}

// do sends a request. Neither key nor session may leave the machine, so only a
// loopback address is called.
func (c callersClient) do(r *http.Request) (*http.Response, error) {
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
	return slices.ContainsFunc(environ, func(pair string) bool {
		value, ok := strings.CutPrefix(pair, name+"=")
		return ok && value != ""
	})
}

// terminal reports whether a person sits at the other end of a stream. The empty
// device is a character device too.
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

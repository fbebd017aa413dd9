package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/session"
	"sfm-sidecar/internal/telemetry"
)

// remoteDesk asks the sidecar that keeps the sessions, at its admin listener.
type remoteDesk struct {
	address string
	caller  callersClient
}

// answerBegins is how long it may take to begin an answer; the rest takes its time.
const answerBegins = 10 * time.Second

// openRemote finds the running sidecar of an environment.
func openRemote(environ []string) (*remoteDesk, error) {
	admin, err := config.AdminAddress(environ)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(admin)
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, config.Faults{{
			Variable: "SIDECAR_ADMIN_LISTEN", Problem: "is an address that other machines reach, where sessions are neither listed nor ended",
			Mend: "write a loopback address such as 127.0.0.1:9090, or keep sessions in a shared store (SIDECAR_STORE), where the command finds them itself;" +
				" with sessions in memory alone, a restart of the sidecar ends them all",
		}}
	}
	key, err := config.CallerKey(environ)
	if err != nil {
		return nil, err
	}
	return &remoteDesk{admin, callersClient{key: key, client: &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, ResponseHeaderTimeout: answerBegins}, CheckRedirect: refuseRedirect,
	}}}, nil
}

func (d *remoteDesk) close() {}

func (d *remoteDesk) list(ctx context.Context, c session.Choice, visit func(sessionRow) error) (int, error) {
	return d.ask(ctx, sessionsPath, bodyOf(c, false), func(t deskLine) error {
		if t.Session == nil {
			return errNotOurs
		}
		return visit(*t.Session)
	})
}

func (d *remoteDesk) end(ctx context.Context, c session.Choice, tell func(endedRow)) (int, error) {
	all := len(c.IDs) == 0 && c.Person == session.Expect{} && c.Organization == ""
	return d.ask(ctx, sessionsEndPath, bodyOf(c, all), func(t deskLine) error {
		if t.Ended == nil {
			return errNotOurs
		}
		tell(*t.Ended)
		return nil
	})
}

// errNotOurs says that another program has the port.
var errNotOurs = errors.New("what answers there does not answer as a sidecar does")

// ask makes one call and reads the answer line by line.
func (d *remoteDesk) ask(ctx context.Context, path string, body sessionsBody, each func(deskLine) error) (int, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+d.address+path, bytes.NewReader(raw))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	res, err := d.caller.do(r)
	if err != nil {
		return 0, &unasked{
			problem: fmt.Sprintf("no sidecar answers at %s (SIDECAR_ADMIN_LISTEN): %v", d.address, err),
			mend:    "sessions are kept by the running process: run this on its machine, with its environment; where no sidecar runs there is none",
		}
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return 0, d.refused(res)
	}
	lines := json.NewDecoder(res.Body)
	for {
		var t deskLine
		switch err := lines.Decode(&t); {
		case err != nil && ctx.Err() != nil:
			return 0, context.Cause(ctx)
		case err != nil:
			return 0, fmt.Errorf("the answer of %s (SIDECAR_ADMIN_LISTEN) broke off: %w", d.address, err)
		case t.Done != nil && t.Done.Error != "":
			return t.Done.Unreadable, errors.New(telemetry.Mask(t.Done.Error))
		case t.Done != nil:
			return t.Done.Unreadable, nil
		}
		if err := each(t); err != nil {
			return 0, err
		}
	}
}

// maxProblem bounds what is read of a refusal.
const maxProblem = 64 << 10

// refused is what the sidecar says instead.
func (d *remoteDesk) refused(res *http.Response) error {
	var problem struct{ Detail, Hint string }
	raw, _ := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	code := res.Header.Get("Sidecar-Error")
	if json.Unmarshal(raw, &problem) != nil || code == "" {
		return fmt.Errorf("%s (SIDECAR_ADMIN_LISTEN): %w", d.address, errNotOurs)
	}
	return &unasked{
		problem: fmt.Sprintf("%s (SIDECAR_ADMIN_LISTEN) answers %s: %s", d.address, plain(telemetry.Mask(code)), plain(telemetry.Mask(problem.Detail))),
		mend:    plain(telemetry.Mask(problem.Hint)),
	}
}

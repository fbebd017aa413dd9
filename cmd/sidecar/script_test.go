package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"sfm-sidecar/internal/simulator"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"sidecar": main}) }

// TestScripts runs the real program as a person at a terminal would. Every
// script has a HelseID and an SFM of its own; $KEY names the client's key file,
// $LISTEN and $ADMIN are free addresses.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		Setup:               prepare,
		RequireExplicitExec: true,
		Condition: func(name string) (bool, error) {
			if name != "systemd" {
				return false, errors.New("unknown")
			}
			_, err := os.Stat("/run/systemd/system")
			return err == nil, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await": await, "login": login, "call": call, "refused": refused, "expand": expand,
		},
	})
}

func prepare(env *testscript.Env) error {
	sim, err := standIns(env)
	if err != nil {
		return err
	}
	tenant := simulator.Tenants()[0]
	for name, value := range map[string]string{
		"HELSEID": sim.HelseID, "SFM": sim.SFM,
		"BRREG": sim.Brreg, "ADDRESSES": sim.Adresseregisteret, "SELVBETJENING": sim.Selvbetjening,
		"PARENT": tenant.Parent, "CHILD": tenant.Child, "JOURNAL": tenant.Journal,
	} {
		env.Setenv(name, value)
	}
	for _, name := range []string{"LISTEN", "ADMIN"} {
		address, err := freeAddress()
		if err != nil {
			return err
		}
		env.Setenv(name, address)
	}
	return nil
}

// standIns are a HelseID that knows one client, whose key goes to $KEY, and an SFM.
func standIns(env *testscript.Env) (*simulator.Running, error) {
	client, key, err := simulator.NewClient("script-epj")
	if err != nil {
		return nil, err
	}
	sim, err := simulator.Start(simulator.Options{Clients: []simulator.Client{client}})
	if err != nil {
		return nil, err
	}
	env.Defer(func() { _ = sim.Close() })
	env.Values[simulatorValue{}] = sim
	env.Setenv("KEY", filepath.Join(env.WorkDir, "client.jwk"))
	return sim, os.WriteFile(env.Getenv("KEY"), key, 0o600)
}

// simulatorValue is where a script's commands find its stand-ins.
type simulatorValue struct{}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// expand puts the script's variables into a file.
func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: expand file")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// await polls an address until it answers 200.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: await url")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if status, _, err := get(ctx, http.MethodGet, args[0], nil, new(http.Client)); err == nil && status == http.StatusOK {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	ts.Fatalf("%s does not answer 200", args[0])
}

// login makes a session for a person and keeps its handle in $SESSION.
func login(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: login person")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	base := "http://" + ts.Getenv("LISTEN")
	_, body, err := get(ctx, http.MethodPost, base+"/_sidecar/sessions", nil, new(http.Client))
	ts.Check(err)
	parts := strings.Split(body, `"`)
	if len(parts) < 13 {
		ts.Fatalf("beginning a log-in failed")
	}
	ts.Setenv("SESSION", parts[3])
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	browser := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasSuffix(r.URL.Path, "/connect/authorize") {
			q := r.URL.Query()
			q.Set("auto", args[0])
			r.URL.RawQuery = q.Encode()
		}
		return nil
	}}
	status, _, err := get(ctx, http.MethodGet, parts[11], nil, browser)
	ts.Check(err)
	_, _ = fmt.Fprintf(ts.Stdout(), "page %d\n", status)
}

// call sends a request for the script's tenant and prints what came back; the
// session goes along when there is one.
func call(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: call method path")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	status, body, err := get(ctx, args[0], "http://"+ts.Getenv("LISTEN")+args[1], named(ts), new(http.Client))
	if err != nil {
		_, _ = fmt.Fprintln(ts.Stdout(), "no answer")
		return
	}
	_, _ = fmt.Fprintf(ts.Stdout(), "%d %.200s\n", status, body)
}

// named names the script's tenant and session.
func named(ts *testscript.TestScript) http.Header {
	h := http.Header{
		"Sfm-Orgnr-Parent": {ts.Getenv("PARENT")}, "Sfm-Orgnr-Child": {ts.Getenv("CHILD")}, "Sfm-Journal-Id": {ts.Getenv("JOURNAL")},
	}
	if s := ts.Getenv("SESSION"); s != "" {
		h.Set("Sfm-Session", s)
	}
	return h
}

// refused polls a path until it is refused with a code, for what the program is about
// to notice.
func refused(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: refused path code")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		_, body, err := get(ctx, http.MethodGet, "http://"+ts.Getenv("LISTEN")+args[0], named(ts), new(http.Client))
		if err == nil && strings.Contains(body, "urn:sfm-sidecar:problem:"+args[1]) {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	ts.Fatalf("%s is not refused with %s", args[0], args[1])
}

// get sends one request. Its errors do not hold the address, which may carry
// one-time values.
func get(ctx context.Context, method, address string, h http.Header, client *http.Client) (int, string, error) {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader("{}")
	}
	r, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return 0, "", errors.New("not an address")
	}
	for name, values := range h {
		r.Header[name] = values
	}
	resp, err := client.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

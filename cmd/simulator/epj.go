package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"time"

	"sfm-sidecar/internal/simulator"
)

// callTimeout is how long the stand-in waits for one answer.
const callTimeout = 30 * time.Second

// epj is a record system as simple as can be, for a pod in which nothing else is to
// be had: it lets a synthetic person log in through the sidecar, and calls SFM.
type epj struct {
	base   string // the sidecar's address
	person string
	every  time.Duration // between calls; 0 = one call
	client http.Client
}

// runEPJ makes one call, or one call after the other until ctx ends. The first that
// fails ends it, with exit code 1.
func runEPJ(ctx context.Context, args []string, std streams) int {
	e := epj{client: http.Client{Timeout: callTimeout}}
	set := flag.NewFlagSet("simulator epj", flag.ContinueOnError)
	set.SetOutput(std.err)
	set.StringVar(&e.base, "sidecar", "http://localhost:8080", "`address` of the sidecar")
	set.StringVar(&e.person, "person", "lege", "synthetic `person` who logs in")
	set.DurationVar(&e.every, "every", 0, "go on, with a call after each `time`")
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		return exitUsage
	case set.NArg() > 0:
		return std.fail(exitUsage, fmt.Errorf("unexpected argument %q", set.Arg(0)))
	}
	if err := e.work(ctx, std.out); err != nil && ctx.Err() == nil {
		return std.fail(exitFailed, err)
	}
	return exitDone
}

func (e *epj) work(ctx context.Context, out io.Writer) error {
	session, err := e.logIn(ctx)
	if err != nil {
		return fmt.Errorf("logging in: %w", err)
	}
	for {
		if err := e.call(ctx, http.MethodGet, "/basis/Task?code=8", session, nil); err != nil {
			return err
		}
		_, _ = fmt.Fprintln(out, "SFM answered a call")
		if e.every == 0 {
			return e.call(ctx, http.MethodDelete, "/_sidecar/session", session, nil)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(e.every):
		}
	}
}

// logIn returns the handle of a new session of the person's.
func (e *epj) logIn(ctx context.Context) (string, error) {
	var begun struct {
		Session  string `json:"session"`
		LoginURL string `json:"login_url"`
	}
	if err := e.call(ctx, http.MethodPost, "/_sidecar/sessions", "", &begun); err != nil {
		return "", err
	}
	if err := e.browse(ctx, begun.LoginURL); err != nil {
		return "", err
	}
	var now struct {
		State string `json:"state"`
	}
	if err := e.call(ctx, http.MethodGet, "/_sidecar/session", begun.Session, &now); err != nil {
		return "", err
	}
	if now.State != "active" {
		return "", fmt.Errorf("the session is %s", now.State)
	}
	return begun.Session, nil
}

// browse opens the log-in page as the person's browser would, and chooses the person
// on HelseID's page. Its errors carry no address: those hold one-time values.
func (e *epj) browse(ctx context.Context, link string) error {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return err
	}
	browser := http.Client{Jar: jar, Timeout: callTimeout, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasSuffix(r.URL.Path, "/connect/authorize") {
			q := r.URL.Query()
			q.Set("auto", e.person)
			r.URL.RawQuery = q.Encode()
		}
		return nil
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, link, nil)
	if err != nil {
		return errors.New("the log-in link is no address")
	}
	answer, err := browser.Do(r)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("browsing: %w", failed.Err)
	}
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the page after the log-in says %s %s", answer.Status, answer.Header.Get("Sidecar-Error"))
	}
	return nil
}

// call makes one call for the world's first tenant and reads the answer into v, if
// there is one.
func (e *epj) call(ctx context.Context, method, path, session string, v any) error {
	var body io.Reader
	if method == http.MethodPost {
		body = bytes.NewReader([]byte("{}"))
	}
	r, err := http.NewRequestWithContext(ctx, method, e.base+path, body)
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if session != "" {
		t := simulator.Tenants()[0]
		for name, value := range map[string]string{
			"Sfm-Session": session, "Sfm-Orgnr-Parent": t.Parent, "Sfm-Orgnr-Child": t.Child, "Sfm-Journal-Id": t.Journal,
		} {
			r.Header.Set(name, value)
		}
	}
	answer, err := e.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return err
	}
	if answer.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s %s", method, path, answer.Status, answer.Header.Get("Sidecar-Error"))
	}
	if v == nil {
		return nil
	}
	return json.Unmarshal(content, v)
}

// runProbe tells by its exit code whether the stand-in for HelseID answers: for
// images that have no other program.
func runProbe(ctx context.Context, args []string, std streams) int {
	set := flag.NewFlagSet("simulator probe", flag.ContinueOnError)
	set.SetOutput(std.err)
	address := set.String("helseid", "127.0.0.1:8081", "`address` of HelseID")
	switch err := set.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitDone
	case err != nil:
		return exitUsage
	case set.NArg() > 0:
		return std.fail(exitUsage, fmt.Errorf("unexpected argument %q", set.Arg(0)))
	}
	asked := epj{base: "http://" + *address, client: http.Client{Timeout: callTimeout}}
	if err := asked.call(ctx, http.MethodGet, "/.well-known/openid-configuration", "", nil); err != nil {
		return std.fail(exitFailed, err)
	}
	return exitDone
}

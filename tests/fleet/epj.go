//go:build unix

package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"time"
)

// person and tenant are as the simulator tells them at /_simulator/world.
type person struct {
	ID        string `json:"id"`
	Subject   string `json:"sub"`
	Name      string `json:"name"`
	PID       string `json:"pid"`
	HPRNumber string `json:"hpr_number"`
}

type tenant struct {
	Parent  string `json:"parent"`
	Child   string `json:"child"`
	Journal string `json:"journal"`
}

// call is one call of a person for a tenant, and what came of it.
type call struct {
	ID                      string
	Sidecar, Person, Tenant int
	Begun                   time.Time
	Took                    time.Duration
	Status                  int
	Code                    string // Sidecar-Error
	Wrong                   string // what is wrong with an answer that says that all is well
}

// ask makes the call; the answer must be the echo of this very one.
func (w *world) ask(c *call) {
	c.Begun = time.Now()
	defer func() { c.Took = time.Since(c.Begun) }()
	r, err := http.NewRequest(http.MethodPost, w.sidecars[c.Sidecar].base+"/basis/echo/"+c.ID, strings.NewReader(c.ID))
	if err != nil {
		c.Wrong = err.Error()
		return
	}
	t := w.tenants[c.Tenant]
	for name, value := range map[string]string{
		"Sfm-Session": w.handles[c.Person], "Sfm-Orgnr-Parent": t.Parent, "Sfm-Orgnr-Child": t.Child, "Sfm-Journal-Id": t.Journal,
		"X-Request-Id": c.ID, "Content-Type": "text/plain",
	} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	answer, err := w.client.Do(r)
	if err != nil {
		c.Wrong = "no answer"
		return
	}
	defer answer.Body.Close()
	c.Status, c.Code = answer.StatusCode, answer.Header.Get("Sidecar-Error")
	var echo struct {
		Path string `json:"path"`
		Sum  string `json:"body_sha256"`
	}
	err = json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(&echo)
	sum := sha256.Sum256([]byte(c.ID))
	if c.Status == http.StatusOK && (err != nil || echo.Path != "/echo/"+c.ID || echo.Sum != hex.EncodeToString(sum[:]) || answer.Header.Get("Sidecar-Request-Id") != c.ID) {
		c.Wrong = "another call's answer"
	}
}

// logIn returns the handle of a new session. Errors carry no address: those hold
// one-time values.
func (w *world) logIn(ctx context.Context, base, id string) (string, error) {
	var begun struct {
		Session string `json:"session"`
		Link    string `json:"login_url"`
	}
	if err := w.fetch(ctx, http.MethodPost, base+"/_sidecar/sessions", "{}", &begun); err != nil {
		return "", err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	browser := http.Client{Jar: jar, Timeout: 30 * time.Second, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasSuffix(r.URL.Path, "/connect/authorize") {
			q := r.URL.Query()
			q.Set("auto", id)
			r.URL.RawQuery = q.Encode()
		}
		return nil
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, begun.Link, nil)
	if err != nil {
		return "", errors.New("the log-in link is no address")
	}
	answer, err := browser.Do(r)
	if err != nil {
		return "", errors.New("the browser got no page")
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the log-in ends with %s %s", answer.Status, answer.Header.Get("Sidecar-Error"))
	}
	return begun.Session, nil
}

// fetch makes a call and reads JSON.
func (w *world) fetch(ctx context.Context, method, address, body string, v any) error {
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	answer, err := w.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s: %s %s", r.URL.Path, answer.Status, answer.Header.Get("Sidecar-Error"))
	}
	if v == nil {
		return nil
	}
	return json.NewDecoder(answer.Body).Decode(v)
}

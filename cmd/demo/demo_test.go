package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"
)

func TestDemoOnce(t *testing.T) {
	var out, logs bytes.Buffer
	if err := run(t.Context(), demo{out: &out, errors: &logs, person: "lege", once: true}); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{
		"->  active, security level 4",
		"$sendMedication  ->  200",
		"parent 100100126, child 999944582",
		"parent 313325016, child -",
		"└─ 100100126  Eksempel AS            active  HER-id 90001  ← Aktør, address, phone",
		"error    J4",
		"POST /basis/Organization  Sfm-Journal-Intent: -    ->  409 journal-guard",
		"POST /basis/Organization  Sfm-Journal-Intent: new  ->  201",
		"made journal " + newJournal + " with 1 organization",
		"HelseID gave 2 tokens by refresh after one log-in; SFM took 6 calls",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the output lacks %q:\n%s", want, out.String())
		}
	}
	if logs.Len() > 0 {
		t.Errorf("the sidecar complained:\n%s", logs.String())
	}
}

func TestDemoFailsWhenTheLogInDoes(t *testing.T) {
	err := run(t.Context(), demo{out: io.Discard, errors: io.Discard, person: "lav", once: true})
	if err == nil || !strings.Contains(err.Error(), "logging in") {
		t.Errorf("a person at level 3 logged in: %v", err)
	}
}

// Without -once it stays up until it is told to end, and shows what to paste.
func TestDemoStaysUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, demo{out: w, errors: io.Discard, person: "vikar"})
		_ = w.Close()
	}()
	var shown strings.Builder
	buffer := make([]byte, 4096)
	for !strings.Contains(shown.String(), "/_sidecar/login/") {
		n, err := r.Read(buffer)
		if err != nil {
			t.Fatalf("it ended by itself: %v\n%s", <-done, shown.String())
		}
		shown.Write(buffer[:n])
	}
	if !strings.Contains(shown.String(), "curl -i 'http://127.0.0.1:") || !strings.Contains(shown.String(), "/_sidecar/login/") {
		t.Error("nothing to paste or to open")
	}
	cancel()
	go func() { _, _ = io.Copy(io.Discard, r) }()
	if err := <-done; err != nil {
		t.Errorf("it did not end well: %v", err)
	}
}

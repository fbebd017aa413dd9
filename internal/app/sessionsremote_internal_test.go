package app

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sfm-sidecar/internal/session"
)

// An answer counts when its end is there, and is believed when a sidecar makes it.
func TestRemoteDeskAnswers(t *testing.T) {
	const row = `{"session":{"id":"abcdef","state":"active","begun":"2026-11-22T08:00:00Z","open":true}}` + "\n"
	for name, tt := range map[string]struct {
		body       string
		rows       int
		unreadable int
		err        string // "" = none
	}{
		"whole":             {body: row + row + `{"done":{"unreadable":3}}`, rows: 2, unreadable: 3},
		"none":              {body: `{"done":{}}`},
		"cut off":           {body: row, rows: 1, err: "broke off"},
		"cut off in a line": {body: row + row[:20], rows: 1, err: "broke off"},
		"failed":            {body: row + `{"done":{"error":"of 13827015061"}}`, rows: 1, err: "of "},
		"another line":      {body: row + `{"ended":{"id":"x"}}`, rows: 1, err: "as a sidecar does"},
		"another program":   {body: `<html>`, err: "broke off"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sent, _ := io.ReadAll(r.Body)
			if r.URL.RawQuery != "" || !strings.Contains(string(sent), `"pid":"13827015061"`) {
				t.Errorf("%s: asked by %s", name, r.URL.Path)
			}
			_, _ = io.WriteString(w, tt.body)
		}))
		desk, err := openRemote([]string{"SIDECAR_ADMIN_LISTEN=" + strings.TrimPrefix(server.URL, "http://")})
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		unreadable, err := desk.list(t.Context(), session.Choice{Person: session.Expect{PID: "13827015061"}}, func(row sessionRow) error { n++; return nil })
		if n != tt.rows || unreadable != tt.unreadable || tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: %d rows, %d unreadable, %v", name, n, unreadable, err)
		}
		if err != nil && strings.Contains(err.Error(), "13827015061") {
			t.Errorf("%s: the number is repeated", name)
		}
		server.Close()
	}
}

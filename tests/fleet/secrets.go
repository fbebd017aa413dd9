//go:build unix

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// secrets are what must not stand in the store in clear, with a word for what it is.
func (w *world) secrets() map[string]string {
	all := map[string]string{
		"refresh_token": "a field of a log-in", "access_token": "a field of a token", "security_level": "a field of a log-in",
		"simulated-refresh-": "a refresh token", "simulated-epj": "the client's id", w.issuer: "the issuer",
	}
	for i, handle := range w.handles {
		all[handle] = "a session handle"
		p := w.persons[i]
		all[p.PID], all[p.Subject], all[p.Name], all[p.HPRNumber] = "an identity number", "a person's pseudonym", "a name", "an HPR number"
	}
	for _, t := range w.tenants {
		all[t.Parent], all[t.Journal] = "an organization number", "a journal-id"
		if t.Child != "" {
			all[t.Child] = "an organization number"
		}
	}
	return all
}

// jwt finds a token whatever it holds; so many characters are no chance.
var jwt = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{16,}`)

// find says which of the secrets stand in content, as they are or in another spelling.
func find(content []byte, secrets map[string]string) (found []string) {
	lower := bytes.ToLower(content)
	for secret, what := range secrets {
		for _, spelt := range spellings(secret) {
			if bytes.Contains(lower, bytes.ToLower([]byte(spelt))) {
				found = append(found, what)
				break
			}
		}
	}
	if jwt.Match(content) {
		found = append(found, "a JWT")
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// spellings of a secret: itself, in hex, percent-encoded, without what separates its
// parts, and in base64 at each of the three places where it can begin.
func spellings(secret string) []string {
	all := []string{secret, hex.EncodeToString([]byte(secret)), url.QueryEscape(secret), strings.ReplaceAll(secret, "-", "")}
	if raw, err := hex.DecodeString(strings.ReplaceAll(secret, "-", "")); err == nil && len(raw) == 16 {
		all = append(all, string(raw)) // a journal-id as the number that it is
	}
	for begin := range 3 {
		padded := append(make([]byte, begin), secret...)
		for _, code := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := code.EncodeToString(padded)
			// The first characters hold what stands before, the last what comes after.
			all = append(all, text[[]int{0, 2, 3}[begin]:len(text)-1])
		}
	}
	return all
}

// search looks for secrets in all that the servers hold, and have on their disks.
func (w *world) search(r *report) {
	content, names, err := w.servers.content()
	if err != nil {
		r.breaks("the store could not be read: %v", err)
		return
	}
	found := find(content, w.secrets())
	r.add("entries in the store at the end; bytes searched for secrets", "%d; %d", len(names), len(content))
	kinds := map[string]int{}
	for _, name := range names {
		kind, _, _ := strings.Cut(name, "{")
		kinds[kind]++
	}
	r.line("  " + fmt.Sprint(kinds))
	if len(names) < len(w.handles) && !w.run.unsaved {
		r.breaks("%d entries for %d log-ins: what was searched is not the store", len(names), len(w.handles))
	}
	for _, what := range found {
		r.breaks("%s stands in the store in clear", what)
	}
}

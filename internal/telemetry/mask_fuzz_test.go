package telemetry_test

import (
	"regexp"
	"testing"

	"sfm-sidecar/internal/telemetry"
)

// FuzzMask: whatever the text, no eleven digits stand alone in what is left of it,
// but in a word of the form of an id.
func FuzzMask(f *testing.F) {
	for _, seed := range []string{
		"13827015061,13 82 70 15061", "138270\u00a015061", "abcdef12345678901abcdef012345678 13827015061", "5f3a0001-0000-4000-8000-12345678901a",
		`{"d":"0123456789abcdefghij"}`, "a:b@c://d@e", "-----BEGIN PRIVATE KEY-----x", "/a?b=13827015061", "99 13827015061 1",
	} {
		f.Add(seed)
	}
	word := regexp.MustCompile(`[0-9A-Za-z_-]+`)
	id := regexp.MustCompile(`(?i)^(?:[0-9a-f]{32}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})$`)
	person := regexp.MustCompile(`(?:^|\D)\d{11}(?:\D|$)`)
	f.Fuzz(func(t *testing.T, text string) {
		masked := telemetry.Mask(text)
		for _, w := range word.FindAllString(masked, -1) {
			if !id.MatchString(w) && person.MatchString(w) {
				t.Errorf("%q became %q", text, masked)
			}
		}
	})
}

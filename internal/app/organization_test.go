package app_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"sfm-sidecar/internal/simulator"
)

// TestOrganizationOfTheDocs writes the Organization that docs/integrate.md shows, with its headers, to an SFM that holds it
// to every rule.
func TestOrganizationOfTheDocs(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/integrate.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "## Writing an Organization")
	body := regexp.MustCompile("(?s)```json\n(.*?)```").FindStringSubmatch(section)
	if body == nil {
		t.Fatal("the docs show no Organization")
	}
	w := newWorld(t, setup{})
	w.sim.SetKnobs(func(k *simulator.Knobs) { k.SFM.StrictJournals = true })
	h := []string{"Sfm-Session", w.logIn("lege"), "Content-Type", "application/fhir+json"}
	for _, header := range regexp.MustCompile("-H '(Sfm-[A-Za-z-]+): ([^']+)'").FindAllStringSubmatch(section, -1) {
		h = append(h, header[1], header[2])
	}
	if a := w.send(w.request(http.MethodPost, "/basis/Organization", body[1], h...)); a.status != http.StatusCreated {
		t.Errorf("SFM answered %d: %s", a.status, a.body)
	}
}

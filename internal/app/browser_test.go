package app_test

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sfm-sidecar/internal/simulator"
)

// TestBrowser logs persons in with a real browser, from the click on the log-in
// page to the active session, and looks at the pages as a person meets them. It
// does not run beside other tests: a browser takes the machine for itself.
func TestBrowser(t *testing.T) {
	d := startDriver(t)
	w := newWorld(t, setup{env: []string{"HELSEID_TIMEOUT=2s"}})
	t.Run("Norwegian", func(t *testing.T) { testNorwegian(t, w, d) })
	t.Run("English", func(t *testing.T) { testEnglish(t, w, d) })
	t.Run("without script", func(t *testing.T) { testNoScript(t, w, d) })
}

// page is a page of the sidecar as it must appear.
type page struct {
	name     string // of the screenshot
	language string
	role     string // status or alert
	heading  string
	body     string // a part of it
	code     string // of the refusal, "" = none
}

var loggedIn = page{
	name: "logged-in-nb", language: "nb", role: "status", heading: "Du er logget inn", body: "gå tilbake til journalsystemet",
}

// see holds the page that a browser shows against what is wanted, in both colour
// schemes.
func (c *chrome) see(t *testing.T, want page) {
	t.Helper()
	if got := c.text(t, "h1"); got != want.heading {
		t.Errorf("the heading is %q, want %q", got, want.heading)
	}
	if got := c.get(t, "title"); got != want.heading {
		t.Errorf("the title is %q", got)
	}
	if got := c.text(t, "main"); !strings.Contains(got, want.body) || !strings.Contains(got, want.code) {
		t.Errorf("the page says %q", got)
	}
	if got := c.get(t, "element/"+c.element(t, "html")+"/attribute/lang"); got != want.language {
		t.Errorf("the page's language is %q", got)
	}
	told := c.accessible(t)
	for _, role := range []string{"RootWebArea: " + want.heading, "main: ", want.role + ": ", "heading: " + want.heading} {
		if !slices.ContainsFunc(told, func(node string) bool { return strings.HasPrefix(node, role) }) {
			t.Errorf("a screen reader is not told of %q, but of %q", role, told)
		}
	}
	texts := []string{"h1", "p"}
	if want.code != "" {
		texts = append(texts, "footer p")
	}
	background := map[string]string{}
	for _, scheme := range []string{"dark", "light"} {
		c.scheme(t, scheme)
		background[scheme] = c.css(t, "main", "background-color")
		for _, selector := range texts {
			if ratio := contrast(t, c.css(t, selector, "color"), background[scheme]); ratio < 7 {
				t.Errorf("%s: the contrast of %s is %.1f, want 7 (WCAG 2.2, AAA)", scheme, selector, ratio)
			}
		}
		c.screenshot(t, want.name+"-"+scheme)
	}
	if background["dark"] == background["light"] {
		t.Error("dark and light look alike")
	}
	if found := c.violations(t); len(found) > 0 {
		t.Errorf("the browser found violations of the page's policy: %q", found)
	}
}

// contrast is that of WCAG 2.2, from CSS colours.
func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	light, dark := luminance(t, a), luminance(t, b)
	if light < dark {
		light, dark = dark, light
	}
	return (light + 0.05) / (dark + 0.05)
}

func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	var channels [3]float64
	colour = strings.TrimPrefix(strings.Replace(colour, "rgba(", "rgb(", 1), "rgb(")
	if _, err := fmt.Sscanf(strings.ReplaceAll(colour, ",", " "), "%g %g %g", &channels[0], &channels[1], &channels[2]); err != nil {
		t.Fatalf("the colour %q: %v", colour, err)
	}
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		v := channels[i] / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}

// person clicks one on HelseID's log-in page, and waits to be back.
func (c *chrome) person(t *testing.T, w *world, who string) {
	t.Helper()
	c.click(t, `button[value="`+who+`"]`)
	eventually(t, "the way back from HelseID", func() bool { return !strings.HasPrefix(c.get(t, "url"), w.sim.HelseID) })
}

func testNorwegian(t *testing.T, w *world, d *driver) {
	w.t = t
	first, second := d.browser(t, chromeOptions{language: "nb-NO"}), d.browser(t, chromeOptions{language: "nb-NO"})
	handle, link := w.begin("{}")
	first.open(t, link)
	first.screenshot(t, "log-in-page")
	second.open(t, link)
	second.see(t, page{
		name: "other-browser-nb", language: "nb", role: "alert", heading: "Innloggingen ble startet i en annen nettleser",
		body: "fullfør den i nettleseren som åpnes", code: "login-failed",
	})

	answered := make(chan string, 1)
	go func() {
		state, _ := w.state(handle, "?wait=60s")
		answered <- state
	}()
	first.person(t, w, "lege")
	first.see(t, loggedIn)
	if state := <-answered; state != "active" {
		t.Errorf("the session is %s", state)
	}
	w.wantCode(w.call(handle, 0), "")

	first.do(t, "refresh", map[string]any{}, nil)
	first.see(t, page{
		name: "used-nb", language: "nb", role: "alert", heading: "Denne innloggingen er allerede brukt",
		body: "Er du ikke logget inn der, start på nytt", code: "login-failed",
	})
	w.wantCode(w.call(handle, 1), "") // which does the session no harm

	for _, refused := range []struct {
		person, body string
		page         page
	}{
		{"deny", "{}", page{name: "cancelled-nb", heading: "Innloggingen ble avbrutt", body: "start innloggingen på nytt", code: "login-failed"}},
		{"lav", "{}", page{name: "level-nb", heading: "Innloggingen er ikke sikker nok", body: "nivå 4", code: "login-failed"}},
		{"vikar", `{"expect":{"hpr_number":"565501001"}}`, page{name: "another-person-nb", heading: "En annen person er logget inn", body: "Logg ut av HelseID", code: "person-mismatch"}},
	} {
		handle, link := w.begin(refused.body)
		first.open(t, link)
		first.person(t, w, refused.person)
		refused.page.language, refused.page.role = "nb", "alert"
		first.see(t, refused.page)
		if state, _ := w.state(handle, ""); state != "failed" {
			t.Errorf("%s: the session is %s", refused.person, state)
		}
	}
	first.click(t, "main a") // the way out of HelseID, for the next person
	eventually(t, "HelseID's log-out page", func() bool { return strings.HasPrefix(first.get(t, "url"), w.sim.HelseID+"/connect/endsession") })
}

// The code exchange fails; when HelseID is back, the person reloads the page.
func testEnglish(t *testing.T, w *world, d *driver) {
	w.t = t
	c := d.browser(t, chromeOptions{language: "en-GB"})
	handle, link := w.begin("{}")
	c.open(t, link)
	w.sim.SetKnobs(helseID(simulator.Fault{Path: "/connect/token", Status: http.StatusServiceUnavailable}))
	c.person(t, w, "sykepleier")
	c.see(t, page{
		name: "helseid-down-en", language: "en", role: "alert", heading: "HelseID does not answer", body: "reload this page", code: "helseid-unavailable",
	})
	w.sim.SetKnobs(helseID(simulator.Fault{}))
	c.do(t, "refresh", map[string]any{}, nil)
	c.see(t, page{name: "logged-in-en", language: "en", role: "status", heading: "You are logged in", body: "return to your record system"})
	if state, _ := w.state(handle, ""); state != "active" {
		t.Errorf("the session is %s", state)
	}
}

func testNoScript(t *testing.T, w *world, d *driver) {
	w.t = t
	c := d.browser(t, chromeOptions{language: "nb-NO", noScript: true})
	c.open(t, "data:text/html,<title>off</title><script>document.title='on'</script>")
	if got := c.get(t, "title"); got != "off" {
		t.Fatalf("scripts are %s", got)
	}
	handle, link := w.begin("{}")
	c.open(t, link)
	c.person(t, w, "vikar")
	want := loggedIn
	want.name = "logged-in-without-script"
	c.see(t, want)
	if state, _ := w.state(handle, ""); state != "active" {
		t.Errorf("the session is %s", state)
	}
}

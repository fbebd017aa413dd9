package app_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sfm-sidecar/internal/simulator"
)

// statusPage is the status page as a test wants to see it.
type statusPage struct {
	name     string // of the screenshot
	language string
	level    string // good, note or bad
	heading  string
	says     []string // texts that stand somewhere on it
	not      []string // texts that do not
}

// statusURL is where a browser reads it, with the caller key, if one is asked for,
// as the password of the browser's own dialog.
func (w *world) statusURL(key string) string {
	if key != "" {
		key = "anybody:" + key + "@"
	}
	return "http://" + key + w.sidecar.AdminAddr() + "/"
}

// read holds the page against what is wanted, in both colour schemes.
func (c *chrome) read(t *testing.T, w *world, want statusPage) {
	t.Helper()
	c.open(t, w.statusURL(""))
	if got := c.text(t, "h1"); got != want.heading {
		t.Errorf("%s: the heading is %q, want %q", want.name, got, want.heading)
	}
	if got := c.get(t, "element/"+c.element(t, "html")+"/attribute/lang"); got != want.language {
		t.Errorf("%s: the page's language is %q", want.name, got)
	}
	if got := c.get(t, "element/"+c.element(t, "main")+"/attribute/class"); got != want.level {
		t.Errorf("%s: the level is %q, want %q", want.name, got, want.level)
	}
	said := c.text(t, "main")
	seen.keep(said)
	for _, text := range want.says {
		if !strings.Contains(said, text) {
			t.Errorf("%s: %q is missing from the page:\n%s", want.name, text, said)
		}
	}
	for _, text := range want.not {
		if strings.Contains(said, text) {
			t.Errorf("%s: the page says %q", want.name, text)
		}
	}
	c.hear(t, want)
	for _, scheme := range []string{"dark", "light"} {
		c.scheme(t, scheme)
		background := c.css(t, "main", "background-color")
		for _, selector := range []string{"h1", ".opening p", "h2", "th", "td", "th small", "dt", "dd", "footer p"} {
			if ratio := contrast(t, c.css(t, selector, "color"), background); ratio < 7 {
				t.Errorf("%s, %s: the contrast of %s is %.1f, want 7 (WCAG 2.2, AAA)", want.name, scheme, selector, ratio)
			}
		}
		c.picture(t, want.name+"-"+scheme)
	}
	if found := c.violations(t); len(found) > 0 {
		t.Errorf("%s: the browser found violations of the page's policy: %q", want.name, found)
	}
}

// hear holds what a screen reader is told against what is wanted.
func (c *chrome) hear(t *testing.T, want statusPage) {
	t.Helper()
	role := "status"
	if want.level == "bad" {
		role = "alert"
	}
	told := c.accessible(t)
	for _, node := range []string{
		"RootWebArea: " + want.heading, "main: ", role + ": ", "heading: " + want.heading, "region: ", "table: ", "columnheader: ", "rowheader: ",
	} {
		if !slices.ContainsFunc(told, func(n string) bool { return strings.HasPrefix(n, node) }) {
			t.Errorf("%s: a screen reader is not told of %q, but of %q", want.name, node, told)
		}
	}
}

// picture is a screenshot of the whole page, not of its upper end alone.
func (c *chrome) picture(t *testing.T, name string) {
	t.Helper()
	var size struct {
		CSSContentSize struct{ Width, Height float64 }
	}
	c.devtools(t, "Page.getLayoutMetrics", map[string]any{}, &size)
	c.devtools(t, "Emulation.setDeviceMetricsOverride", map[string]any{
		"width": 1100, "height": int(size.CSSContentSize.Height), "deviceScaleFactor": 1, "mobile": false,
	}, nil)
	c.screenshot(t, name)
	c.devtools(t, "Emulation.clearDeviceMetricsOverride", map[string]any{}, nil)
}

var inNorwegian = chromeOptions{language: "nb-NO", noScript: true}

// two are a browser for each language. They are started after the world that they
// read of, and so end before it: a connection that a browser opened ahead of need
// would hold up the server's end by five seconds.
func (d *driver) two(t *testing.T) (norwegian, english *chrome) {
	return d.browser(t, inNorwegian), d.browser(t, chromeOptions{language: "en-GB"})
}

// TestStatusPage reads the page with a real browser while one thing after another
// goes wrong.
func TestStatusPage(t *testing.T) {
	d := startDriver(t)
	t.Run("healthy", func(t *testing.T) { statusHealthy(t, d) })
	t.Run("HelseID down", func(t *testing.T) { statusHelseIDDown(t, d) })
	t.Run("SFM down", func(t *testing.T) { statusSFMDown(t, d) })
	t.Run("clock 90 s off", func(t *testing.T) { statusClock(t, d) })
	t.Run("a refused tenant", func(t *testing.T) { statusTenant(t, d) })
	t.Run("a session near its end", func(t *testing.T) { statusSessionEnd(t, d) })
	t.Run("a broken registry", func(t *testing.T) { statusRegistry(t, d) })
	t.Run("the caller key", func(t *testing.T) { statusKey(t, d) })
}

func statusHealthy(t *testing.T, d *driver) {
	w := newWorld(t, setup{})
	norwegian, english := d.two(t)
	norwegian.read(t, w, statusPage{
		name: "status-unused-nb", language: "nb", level: "good", heading: "Alt er i orden",
		says: []string{"Ingen kall har gått til SFM", "ikke spurt ennå", "Ingen har brukt sidecaren ennå", "Ingen siden sidecaren startet"},
	})
	handle := w.logIn("lege")
	w.wantCode(w.call(handle, 0), "")
	tenant := simulator.Tenants()[0]
	norwegian.read(t, w, statusPage{
		name: "status-healthy-nb", language: "nb", level: "good", heading: "Alt er i orden",
		says: []string{"SFM svarte sist", "HelseID", "svarte (200)", "virker; token til", tenant.Child, tenant.Journal, "versjon test", "går riktig"},
		not:  []string{handle, "13827015061", "Kari", "Ring:"},
	})
	english.read(t, w, statusPage{
		name: "status-healthy-en", language: "en", level: "good", heading: "All is well",
		says: []string{"SFM last answered", "works; token until", "version test", "is right"}, not: []string{"Call:"},
	})
}

func statusHelseIDDown(t *testing.T, d *driver) {
	w := newWorld(t, setup{env: []string{"HELSEID_TIMEOUT=2s"}})
	c := d.browser(t, inNorwegian)
	handle := w.logIn("lege")
	w.wantCode(w.call(handle, 0), "")
	w.sim.SetKnobs(helseID(simulator.Fault{Status: http.StatusServiceUnavailable}))
	w.wantCode(w.call(handle, 1), "helseid-unavailable")
	c.read(t, w, statusPage{
		name: "status-helseid-down-nb", language: "nb", level: "bad", heading: "HelseID svarer ikke",
		says: []string{"nye innlogginger må vente", "Ring: Norsk helsenett, HelseID", "HelseID svarte ikke", "Ingenting ble sendt til SFM", "helseid-unavailable"},
	})
	w.sim.SetKnobs(helseID(simulator.Fault{}))
	w.wantCode(w.call(handle, 1), "")
	c.read(t, w, statusPage{
		name: "status-helseid-back-nb", language: "nb", level: "good", heading: "Alt er i orden", says: []string{"HelseID svarte ikke"},
	})
}

func statusSFMDown(t *testing.T, d *driver) {
	w := newWorld(t, setup{})
	c := d.browser(t, inNorwegian)
	handle := w.logIn("lege")
	w.wantCode(w.call(handle, 0), "")
	w.sim.SetKnobs(func(k *simulator.Knobs) {
		k.SFM.Faults = []simulator.SFMFault{{Kind: simulator.FaultReset, When: simulator.BeforeWork}}
	})
	w.wantCode(w.call(handle, 0), "upstream-outcome-unknown")
	c.read(t, w, statusPage{
		name: "status-sfm-down-nb", language: "nb", level: "bad", heading: "SFM (basis) svarer ikke",
		says: []string{"Ring: Norsk helsenett, brukerstøtte for SFM", "før det sendes igjen", "upstream-outcome-unknown", "svarte ikke"},
	})
}

func statusClock(t *testing.T, d *driver) {
	w := newWorld(t, setup{})
	norwegian, english := d.two(t)
	w.sim.SetKnobs(func(k *simulator.Knobs) { k.ClockOffset = 90 })
	handle := w.logIn("lege")
	w.wantCode(w.call(handle, 0), "")
	norwegian.read(t, w, statusPage{
		name: "status-clock-nb", language: "nb", level: "note", heading: "Klokken på denne maskinen går 90 sekunder for sakte",
		says: []string{"Kallene virker likevel", "Still klokken", "Ring: IT-drift"},
	})
	english.read(t, w, statusPage{
		name: "status-clock-en", language: "en", level: "note", heading: "This machine's clock is 90 seconds slow",
		says: []string{"Calls work all the same", "Call: IT operations"},
	})
}

func statusTenant(t *testing.T, d *driver) {
	all := simulator.Tenants()
	path := filepath.Join(t.TempDir(), "tenants.yaml")
	replaceFile(t, path, fmt.Sprintf("journals:\n  - id: %s\n    name: Eksempel legekontor\n    organizations:\n"+
		"      - {orgnr: %q, name: Eksempel AS, active: true}\n      - {orgnr: %q, name: Eksempel avd. sentrum, part_of: %q, parent: %q, active: true}\n",
		all[0].Journal, all[0].Parent, all[0].Child, all[0].Parent, all[0].Parent)+
		fmt.Sprintf("  - {id: %s, name: Et annet kontor}\n", all[1].Journal)+
		registryOf(map[string]simulator.Tenant{"sentrum": all[0], "utkanten": all[1]}))
	w := newWorld(t, setup{env: []string{"TENANTS_FILE=" + path}})
	norwegian, english := d.two(t)
	handle := w.logIn("lege")
	w.wantCode(w.call(handle, 1), "")
	w.sim.SetKnobs(func(k *simulator.Knobs) { k.HelseID.Withdrawn = []string{all[0].Parent} })
	w.wantCode(w.call(handle, 0), "tenant-not-delegated")
	norwegian.read(t, w, statusPage{
		name: "status-tenant-nb", language: "nb", level: "bad", heading: "Virksomheten har ikke gitt leverandøren rettigheter i Altinn",
		says: []string{
			"må delegere", "Gjelder Eksempel avd. sentrum (sentrum), " + all[0].Parent + " / " + all[0].Child, "Ring: virksomhetens leder eller Altinn-ansvarlige", "Eksempel avd. sentrum (sentrum)", "utkanten",
			"tenant-not-delegated", "HID-1001", "2 i registeret, lest",
		},
	})
	english.read(t, w, statusPage{
		name: "status-tenant-en", language: "en", level: "bad", heading: "The organization has not delegated its rights to this system's supplier",
		says: []string{"must delegate in Altinn", "Eksempel avd. sentrum (sentrum)", "HID-1001"},
	})
}

func statusSessionEnd(t *testing.T, d *driver) {
	w := newWorld(t, setup{})
	c := d.browser(t, inNorwegian)
	w.sim.SetKnobs(func(k *simulator.Knobs) { k.HelseID.RefreshTokenSeconds = 9*60 + 30 })
	handle := w.logIn("lege")
	w.wantCode(w.call(handle, 0), "")
	c.open(t, w.statusURL(""))
	heading := c.text(t, "h1") // names the minute
	if !strings.HasPrefix(heading, "En innlogging går ut kl. ") {
		t.Errorf("the heading is %q", heading)
	}
	c.read(t, w, statusPage{
		name: "status-session-end-nb", language: "nb", level: "note", heading: heading,
		says: []string{"Det er om 9 minutter", "logge inn på nytt", "1; den første går ut"}, not: []string{"Kari", "Ring:", handle},
	})
}

func statusRegistry(t *testing.T, d *driver) {
	path := filepath.Join(t.TempDir(), "tenants.yaml")
	good := registryOf(map[string]simulator.Tenant{"first": simulator.Tenants()[0]})
	replaceFile(t, path, good)
	w := newWorld(t, setup{env: []string{"TENANTS_FILE=" + path}})
	c := d.browser(t, inNorwegian)
	handle := w.logIn("lege")
	w.wantCode(w.call(handle, 0), "")
	replaceFile(t, path, good+"  second: {parent: 123, person: \"13827015061\"}\n")
	eventually(t, "the broken registry to be seen", func() bool { return w.metric("sfm_sidecar_registry_broken") == 1 })
	c.read(t, w, statusPage{
		name: "status-registry-nb", language: "nb", level: "note", heading: "Registeret over virksomheter har feil",
		says: []string{"Endringer er ikke tatt i bruk", "Ring: IT-drift", "tenants.yaml:3:", "first"}, not: []string{"13827015061"},
	})
}

// A browser gives the key by HTTP's own dialog; WebDriver by the address.
func statusKey(t *testing.T, d *driver) {
	const key = "the-key-of-this-test"
	w := newWorld(t, setup{env: []string{"SIDECAR_CALLER_KEY=" + key}})
	c := d.browser(t, inNorwegian)
	c.open(t, w.statusURL(key))
	if got := c.text(t, "h1"); got != "Alt er i orden" {
		t.Errorf("with the key: %q", got)
	}
	c.do(t, "refresh", map[string]any{}, nil)
	if got := c.text(t, "h1"); got != "Alt er i orden" {
		t.Errorf("reloaded: %q", got)
	}
}

package control

import (
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

// well is a sidecar of which there is nothing to complain.
func well() Status {
	return Status{
		Now: noon, Started: noon.Add(-3 * time.Hour), Version: "1.2.3",
		HelseID:   HelseID{Host: "helseid.example", Answered: noon.Add(-time.Minute)},
		Upstreams: []Upstream{{Name: "basis", Host: "sfm.example", At: noon.Add(-time.Minute), Status: 200}},
		Clock:     Clock{Measured: true}, ClientKey: ClientKey{ID: "kid-1", Algorithm: "ES256", Since: noon.Add(-3 * time.Hour)},
		Sessions: LogIns{Count: 2, NearestEnd: noon.Add(4 * time.Hour)},
	}
}

func refusedBy(code, origin string, ago time.Duration) Refusal {
	return Refusal{
		At: noon.Add(-ago), Code: code, Title: "Title of " + code, Hint: "Hint of " + code + ".", Origin: origin, RequestID: "request-1",
		Parent: "100100126", Child: "999944582", Journal: "5f3a0001-0000-4000-8000-00000a11ce00",
	}
}

// troubled makes what the page tells of, one by one.
var troubled = map[string]struct {
	change func(*Status)
	level  level
	no, en string // headings
	call   contact
}{
	"well":     {func(*Status) {}, good, "Alt er i orden", "All is well", nobody},
	"unused":   {func(s *Status) { *s = Status{Now: noon} }, good, "Alt er i orden", "All is well", nobody},
	"stopping": {func(s *Status) { s.Stopping = true }, note, "Sidecaren stopper", "The sidecar is stopping", nobody},
	"client refused": {func(s *Status) { s.HelseID.Refused = "client-not-approved" }, bad,
		"HelseID godtar ikke dette systemet", "HelseID does not accept this system", vendor},
	"HelseID down": {func(s *Status) { s.HelseID.Down, s.HelseID.Failed = noon.Add(-time.Hour), noon.Add(-time.Minute) }, bad,
		"HelseID svarer ikke", "HelseID does not answer", helseID},
	"HelseID was down when last asked, long ago": {func(s *Status) { s.HelseID.Down, s.HelseID.Failed = noon.Add(-time.Hour), noon.Add(-16*time.Minute) }, good,
		"Alt er i orden", "All is well", nobody},
	"clock a little off": {func(s *Status) { s.Clock.Ahead = 1900 * time.Millisecond }, good, "Alt er i orden", "All is well", nobody},
	"clock off": {func(s *Status) { s.Clock.Ahead, s.Clock.Corrected = -90*time.Second, -90*time.Second }, note,
		"Klokken på denne maskinen går 90 sekunder for fort", "This machine's clock is 90 seconds fast", operator},
	"clock not corrected": {func(s *Status) { s.Clock.Ahead = 90 * time.Second }, bad,
		"Klokken på denne maskinen går 90 sekunder for sakte", "This machine's clock is 90 seconds slow", operator},
	"clock far off": {func(s *Status) { s.Clock.Ahead, s.Clock.Corrected = 3*time.Hour, 5*time.Minute }, bad,
		"Klokken på denne maskinen går 3 timer for sakte", "This machine's clock is 3 hours slow", operator},
	"SFM down": {func(s *Status) { s.Upstreams[0].Status, s.Upstreams[0].Code = 0, "upstream-timeout" }, bad,
		"SFM (basis) svarer ikke", "SFM (basis) does not answer", sfm},
	"SFM in trouble": {func(s *Status) { s.Upstreams[0] = Upstream{At: noon, Status: 503} }, bad, "SFM svarer med feil", "SFM answers with errors", sfm},
	"SFM says no":    {func(s *Status) { s.Upstreams[0].Status = 404 }, good, "Alt er i orden", "All is well", nobody},
	"SFM was down long ago": {func(s *Status) { s.Upstreams[0].Status, s.Upstreams[0].At = 503, noon.Add(-16*time.Minute) }, good,
		"Alt er i orden", "All is well", nobody},
	"store": {func(s *Status) { s.Refusals = []Refusal{refusedBy("store-unavailable", "sidecar", time.Minute)} }, bad,
		"Lageret for innlogginger kan ikke brukes nå", "Title of store-unavailable", operator},
	"shared store down": {func(s *Status) {
		s.Store = &Store{Kind: "server", Resting: noon.Add(-time.Hour), Failed: noon, Reason: "unreachable"}
		s.Refusals = []Refusal{refusedBy("store-unavailable", "sidecar", time.Minute)}
	}, bad, "Det felles lageret svarer ikke", "The shared store does not answer", operator},
	"shared store back": {func(s *Status) { s.Store = &Store{Answered: noon, Failed: noon.Add(-time.Minute), Reason: "slow"} }, good,
		"Alt er i orden", "All is well", nobody},
	"shared store full": {storeFailing("full", time.Minute), bad, "Det felles lageret er fullt", "The shared store is full", operator},
	"shared store refuses": {storeFailing("credentials", time.Minute), bad,
		"Det felles lageret avviser sidecaren", "The shared store refuses this sidecar", operator},
	"shared store read-only": {storeFailing("read-only", time.Minute), bad,
		"Det felles lageret tar ikke imot noe", "The shared store takes no writes", operator},
	"shared store without replicas": {storeFailing("replicas", time.Minute), bad,
		"Det felles lageret tar ikke imot noe", "The shared store takes no writes", operator},
	"shared store sealed": {storeFailing("sealed", time.Minute), bad,
		"Sidecaren kan ikke åpne alt i det felles lageret", "The sidecar can't open all that is in the shared store", operator},
	"shared store failed of another reason": {storeFailing("slow", time.Minute), bad,
		"Lageret for innlogginger kan ikke brukes nå", "Title of store-unavailable", operator},
	"shared store was full long ago": {storeFailing("full", 16*time.Minute), bad,
		"Lageret for innlogginger kan ikke brukes nå", "Title of store-unavailable", operator},
	"own key": {func(s *Status) { s.Store = &Store{Answered: noon, OwnKey: true} }, note,
		"Denne sidecaren bruker en egen DPoP-nøkkel, og deler ingen token", "This replica uses a DPoP key of its own and shares no tokens", operator},
	"own key for good": {func(s *Status) { s.Store = &Store{Answered: noon, OwnKey: true, KeyUnopened: true} }, note,
		"Denne sidecaren bruker en egen DPoP-nøkkel, og deler ingen token", "This replica uses a DPoP key of its own and shares no tokens", operator},
	"key unopened": {func(s *Status) { s.Store = &Store{Answered: noon, KeyUnopened: true} }, note,
		"Den felles DPoP-nøkkelen kan ikke åpnes", "The shared DPoP key can't be opened", operator},
	"our own fault": {func(s *Status) { s.Refusals = []Refusal{refusedBy("internal", "sidecar", time.Minute)} }, bad, "En feil i sidecaren", "Title of internal", operator},
	"key ended":     {func(s *Status) { s.ClientKey.NotAfter = noon }, bad, "Systemets nøkkel hos HelseID er utløpt", "The system's key at HelseID has ended", operator},
	"key ending": {func(s *Status) { s.ClientKey.NotAfter = noon.Add(13 * 24 * time.Hour) }, note,
		"Systemets nøkkel hos HelseID utløper snart", "The system's key at HelseID ends soon", operator},
	"key good": {func(s *Status) { s.ClientKey.NotAfter = noon.Add(15 * 24 * time.Hour) }, good, "Alt er i orden", "All is well", nobody},
	"tenant": {func(s *Status) { s.Tenants = troubledTenants(time.Minute, 1) }, bad,
		"Virksomheten har ikke gitt leverandøren rettigheter i Altinn", "Title of tenant-not-delegated", clinic},
	"tenants":         {func(s *Status) { s.Tenants = troubledTenants(time.Minute, 3) }, bad, "3 virksomheter kan ikke bruke SFM nå", "3 organizations can't use SFM now", clinic},
	"tenant long ago": {func(s *Status) { s.Tenants = troubledTenants(16*time.Minute, 1) }, good, "Alt er i orden", "All is well", nobody},
	"registry": {func(s *Status) {
		s.Registry = Registry{File: "/etc/t.yaml", Faults: []Fault{{Where: "/etc/t.yaml:3", Problem: "p", Mend: "m"}}}
	}, note,
		"Registeret over virksomheter har feil", "The register of organizations has faults", operator},
	"session ending": {func(s *Status) { s.Sessions.NearestEnd = noon.Add(9 * time.Minute) }, note, "En innlogging går ut kl. 12:09", "A log-in ends at 12:09", nobody},
	"session ended":  {func(s *Status) { s.Sessions.NearestEnd = noon.Add(-time.Second) }, good, "Alt er i orden", "All is well", nobody},
	"a call of the EPJ": {func(s *Status) { s.Refusals = []Refusal{refusedBy("tenant-missing", "caller", time.Minute)} }, note,
		"Et kall ble avvist", "A call was refused", vendor},
	"a session that ended": {func(s *Status) { s.Refusals = []Refusal{refusedBy("session-expired", "caller", time.Minute)} }, good, "Alt er i orden", "All is well", nobody},
	"a call long ago":      {func(s *Status) { s.Refusals = []Refusal{refusedBy("tenant-missing", "caller", 16*time.Minute)} }, good, "Alt er i orden", "All is well", nobody},
}

// storeFailing has a store that answers, and failed for a reason some time ago; a call was refused just now.
func storeFailing(reason string, ago time.Duration) func(*Status) {
	return func(s *Status) {
		s.Store = &Store{Kind: "server", Answered: noon, Failed: noon.Add(-ago), Reason: reason}
		s.Refusals = []Refusal{refusedBy("store-unavailable", "sidecar", time.Minute)}
	}
}

func troubledTenants(ago time.Duration, n int) []Tenant {
	r := refusedBy("tenant-not-delegated", "helseid", ago)
	return []Tenant{{Parent: "1", Trouble: &r}, {Parent: "2", Trouble: &r}, {Parent: "3", Trouble: &r}}[:n]
}

func TestStatusOpening(t *testing.T) {
	for name, c := range troubled {
		s := well()
		c.change(&s)
		for english, want := range map[bool]string{false: c.no, true: c.en} {
			r := reader{english: english, now: noon}
			v := r.view(s)
			if v.First.Title != want || v.Level != c.level || v.First.Call != r.contact(c.call) || v.First.Body == "" {
				t.Errorf("%s: %v %q, call %q, want %v %q, call %q", name, v.Level, v.First.Title, v.First.Call, c.level, want, r.contact(c.call))
			}
			if strings.Contains(v.First.Body+v.First.Title, "%!") {
				t.Errorf("%s: %q", name, v.First.Body)
			}
		}
	}
}

// What stops everyone comes first, what merely is to be known last.
func TestStatusOrder(t *testing.T) {
	s := well()
	for _, name := range []string{"session ending", "tenants", "registry", "clock off", "HelseID down", "SFM down"} {
		troubled[name].change(&s)
	}
	v := reader{english: true, now: noon}.view(s)
	titles := []string{v.First.Title}
	for _, o := range v.Others {
		titles = append(titles, o.Title)
	}
	want := "HelseID does not answer|SFM (basis) does not answer|3 organizations can't use SFM now|This machine's clock is 90 seconds fast|" +
		"The register of organizations has faults|A log-in ends at 12:09"
	if got := strings.Join(titles, "|"); got != want {
		t.Errorf("the order is\n%s, want\n%s", got, want)
	}
}

// Every refusal there is has its words in Norwegian.
func TestRefusalsInNorwegian(t *testing.T) {
	table, err := os.ReadFile("../../docs/refusals.md")
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(string(table), -1)
	for _, code := range codes {
		if says := refusalsInNorwegian[code[1]]; says.Title == "" || says.Body == "" {
			t.Errorf("%s has no words in Norwegian", code[1])
		}
	}
	if len(codes) == 0 || len(codes) != len(refusalsInNorwegian) {
		t.Errorf("%d codes, and words for %d", len(codes), len(refusalsInNorwegian))
	}
}

func TestSpans(t *testing.T) {
	for d, want := range map[time.Duration]string{
		90 * time.Second: "90 seconds", -90 * time.Second: "90 seconds", 2 * time.Minute: "2 minutes", 119 * time.Minute: "119 minutes",
		2 * time.Hour: "2 hours", 48 * time.Hour: "2 days",
	} {
		if got := (reader{english: true}).span(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	r := reader{english: true, now: noon}
	for at, want := range map[time.Time]string{
		{}: "never", noon: "12:00 (just now)", noon.Add(-time.Minute): "11:59 (60 seconds ago)", noon.Add(time.Hour): "13:00 (in 60 minutes)",
		noon.Add(-72 * time.Hour): "2026-02-27 12:00 (3 days ago)",
	} {
		if got := r.ago(at); got != want {
			t.Errorf("%v is %q, want %q", at, got, want)
		}
	}
}

// What comes from files and callers is text on the page, whatever it looks like.
func TestStatusIsEscaped(t *testing.T) {
	s := well()
	s.Tenants = []Tenant{{Parent: "100100126", Alias: "<b>x", Name: "<script>alert(1)</script>", Journal: "j"}}
	r := refusedBy("tenant-missing", "caller", time.Minute)
	r.RequestID = "<img src=x>"
	s.Refusals = []Refusal{r}
	s.Registry.Faults = []Fault{{Where: "a<i>", Problem: "<u>", Mend: "<s>"}}
	w := httptest.NewRecorder()
	WriteStatus(w, httptest.NewRequest(http.MethodGet, "/", nil), s)
	for _, raw := range []string{"<b>", "<script", "<img", "<i>", "<u>", "<s>"} {
		if strings.Contains(w.Body.String(), raw) {
			t.Errorf("%s stands on the page as it came", raw)
		}
	}
	if !strings.Contains(w.Body.String(), "&lt;script&gt;") {
		t.Error("the name is missing")
	}
}

// docs/status.md has a line for each opening there is.
func TestOpeningsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/status.md")
	if err != nil {
		t.Fatal(err)
	}
	digits := regexp.MustCompile(`[0-9]+ (sekunder|timer|seconds|hours)|for (fort|sakte)|fast|slow`)
	plain := func(s string) string { return digits.ReplaceAllString(s, "…") }
	known := plain(string(page))
	for name, c := range troubled {
		if strings.HasPrefix(c.en, "Title of ") {
			continue // the words of a refusal: docs/refusals.md
		}
		if line := plain("| " + c.no + " / " + c.en + " |"); !strings.Contains(known, line) {
			t.Errorf("%s: docs/status.md lacks %q", name, line)
		}
	}
}

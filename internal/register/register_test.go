package register_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/register"
)

// fake is a register without a network: a round tripper that asks a handler, so that it works in a bubble.
type fake struct {
	handle http.HandlerFunc

	mu          sync.Mutex
	paths       []string
	times       []time.Time
	bodies      []string
	headers     []http.Header
	busy, peak  int
	closedBody  atomic.Int32
	closedTotal atomic.Int32
}

func (f *fake) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
	}
	f.mu.Lock()
	f.paths, f.times, f.bodies = append(f.paths, req.URL.Path), append(f.times, time.Now()), append(f.bodies, string(body))
	f.headers = append(f.headers, req.Header.Clone())
	f.busy++
	f.peak = max(f.peak, f.busy)
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.busy--; f.mu.Unlock() }()
	req = req.Clone(req.Context())
	req.Body = io.NopCloser(strings.NewReader(string(body)))
	w := httptest.NewRecorder()
	f.handle(w, req)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	resp := w.Result()
	f.closedTotal.Add(1)
	resp.Body = closing{resp.Body, &f.closedBody}
	return resp, nil
}

type closing struct {
	io.ReadCloser
	count *atomic.Int32
}

func (c closing) Close() error { c.count.Add(1); return c.ReadCloser.Close() }

func say(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// units answers as Enhetsregisteret does.
func units(collections map[string]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if body, ok := collections[strings.TrimPrefix(r.URL.Path, "/api/")]; ok {
			say(w, 200, body)
			return
		}
		w.WriteHeader(404)
	}
}

func newBrreg(t *testing.T, f *fake) *register.Brreg {
	t.Helper()
	b, err := register.NewBrreg(register.Options{URL: "https://register.example/api", Transport: f})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	top       = `{"organisasjonsnummer":"100100126","navn":"EKSEMPEL AS","_links":{}}`
	part      = `{"organisasjonsnummer":"341000068","navn":"AVDELING","overordnetEnhet":"100100126"}`
	ward      = `{"organisasjonsnummer":"341000076","navn":" SENTRUM ","overordnetEnhet":"341000068"}`
	struckOff = `{"organisasjonsnummer":"341000017","navn":"NEDLAGT","slettedato":"2024-06-30"}`
	loopA     = `{"organisasjonsnummer":"341000092","overordnetEnhet":"341000106"}`
	loopB     = `{"organisasjonsnummer":"341000106","overordnetEnhet":"341000092"}`
	orphan    = `{"organisasjonsnummer":"341000114","overordnetEnhet":"999999999"}`
)

var collections = map[string]string{
	"enheter/100100126": top, "enheter/341000068": part, "underenheter/341000076": ward, "enheter/341000017": struckOff,
	"enheter/341000092": loopA, "enheter/341000106": loopB, "underenheter/341000114": orphan,
}

func TestUnit(t *testing.T) {
	gone := func(w http.ResponseWriter, _ *http.Request) { say(w, 410, `{"organisasjonsnummer":"341000025"}`) }
	day := time.Date(2024, 6, 30, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		orgnr  string
		handle http.HandlerFunc
		want   register.Unit
		top    bool
	}{
		{"100100126", units(collections), register.Unit{Orgnr: "100100126", Name: "EKSEMPEL AS"}, true},
		{"341000068", units(collections), register.Unit{Orgnr: "341000068", Name: "AVDELING", Parent: "100100126"}, false},
		{"341000076", units(collections), register.Unit{Orgnr: "341000076", Name: "SENTRUM", Parent: "341000068", SubUnit: true}, false},
		{"341000017", units(collections), register.Unit{Orgnr: "341000017", Name: "NEDLAGT", Deleted: true, DeletedOn: day}, true},
		{"341000025", gone, register.Unit{Orgnr: "341000025", Deleted: true}, true},
	} {
		got, err := newBrreg(t, &fake{handle: test.handle}).Unit(t.Context(), test.orgnr)
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", test.orgnr, err, diff)
		}
		if got.Top() != test.top {
			t.Errorf("%s: top is %v", test.orgnr, got.Top())
		}
	}
}

func TestUnitUnknown(t *testing.T) {
	f := &fake{handle: units(collections)}
	b := newBrreg(t, f)
	for range 2 { // what is unknown is remembered too
		if _, err := b.Unit(t.Context(), "341000999"); !errors.Is(err, register.ErrUnknown) {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{"/api/enheter/341000999", "/api/underenheter/341000999"}, f.paths); diff != "" {
		t.Error(diff)
	}
	for _, malformed := range []string{"", "12345678", "../../etc", "12345678a", "1234567890"} {
		if _, err := b.Unit(t.Context(), malformed); !errors.Is(err, register.ErrUnknown) || len(f.paths) != 2 {
			t.Errorf("%q: %v, asked %d times", malformed, err, len(f.paths))
		}
	}
}

func TestLineage(t *testing.T) {
	b := newBrreg(t, &fake{handle: units(collections)})
	for _, test := range []struct {
		child, parent string
		below, whole  bool
		units         int
	}{
		{"341000076", "100100126", true, true, 3}, // over two levels
		{"341000068", "100100126", true, true, 2},
		{"341000076", "341000068", true, true, 3},
		{"100100126", "100100126", false, true, 1}, // nobody is below itself
		{"341000076", "341000017", false, true, 3},
		{"341000092", "100100126", false, false, 2}, // a circle
		{"341000114", "100100126", false, false, 1}, // hangs on nothing
	} {
		l, err := b.Lineage(t.Context(), test.child)
		if err != nil || l.Under(test.parent) != test.below || l.Whole != test.whole || len(l.Units) != test.units {
			t.Errorf("%s below %s: %+v %v", test.child, test.parent, l, err)
		}
		if below, err := b.Below(t.Context(), test.child, test.parent); below != test.below || err != nil {
			t.Errorf("%s below %s: %v %v", test.child, test.parent, below, err)
		}
	}
	if _, err := b.Lineage(t.Context(), "341000999"); !errors.Is(err, register.ErrUnknown) {
		t.Error(err)
	}
}

// A chain that never ends is followed for a bounded number of levels.
func TestLineageEnds(t *testing.T) {
	next := 400000000
	f := &fake{handle: func(w http.ResponseWriter, r *http.Request) {
		next++
		say(w, 200, fmt.Sprintf(`{"organisasjonsnummer":%q,"overordnetEnhet":"%d"}`, r.URL.Path[len("/api/enheter/"):], next))
	}}
	l, err := newBrreg(t, f).Lineage(t.Context(), "400000000")
	if err != nil || l.Whole || len(l.Units) != 16 {
		t.Errorf("%d units, whole %v, %v", len(l.Units), l.Whole, err)
	}
}

func TestRefused(t *testing.T) {
	for name, test := range map[string]struct {
		handle http.HandlerFunc
		want   string // in the text
		mend   string
		asked  int
	}{
		"redirect":    {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Location", "/"); w.WriteHeader(301) }, "answered 301", "moved", 1},
		"forbidden":   {func(w http.ResponseWriter, _ *http.Request) { say(w, 403, `{"secret":"x"}`) }, "answered 403", "scope", 1},
		"bad request": {func(w http.ResponseWriter, _ *http.Request) { say(w, 400, `{"secret":"x"}`) }, "answered 400", "address", 1},
		"down":        {func(w http.ResponseWriter, _ *http.Request) { say(w, 503, "secret") }, "answered 503", "later", 4},
		"another":     {func(w http.ResponseWriter, _ *http.Request) { say(w, 200, part) }, "not about the unit", "address", 1},
		"a number":    {func(w http.ResponseWriter, _ *http.Request) { say(w, 200, `{"organisasjonsnummer":100100126}`) }, "not about the unit", "address", 1},
		"array":       {func(w http.ResponseWriter, _ *http.Request) { say(w, 200, `[]`) }, "not about the unit", "address", 1},
		"page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "secret")
		}, "no JSON", "address", 1},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			say(w, 200, `{"organisasjonsnummer":"100100126","x":"`+strings.Repeat("secret", 1<<18)+`"}`)
		}, "fit size", "address", 1},
		"silent": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "in time", "later", 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{handle: test.handle}
				_, err := newBrreg(t, f).Unit(t.Context(), "100100126")
				refused, ok := errors.AsType[*register.Error](err)
				if !ok || !strings.Contains(err.Error(), test.want) || !strings.Contains(refused.Mend, test.mend) || strings.Contains(err.Error(), "secret") {
					t.Errorf("got %v, %+v", err, refused)
				}
				if len(f.paths) != test.asked {
					t.Errorf("asked %d times", len(f.paths))
				}
				if open := f.closedTotal.Load() - f.closedBody.Load(); open != 0 {
					t.Errorf("%d answers were left open", open)
				}
			})
		})
	}
}

// When the register asks for a pause, all calls wait, and no longer than they must.
func TestPause(t *testing.T) {
	for name, test := range map[string]struct {
		value       string
		least, most time.Duration
	}{
		"seconds": {"7", 7 * time.Second, 9 * time.Second},
		"date":    {"Sat, 01 Jan 2000 00:00:07 GMT", 7 * time.Second, 9 * time.Second}, // a bubble begins at midnight
		"none":    {"", 500 * time.Millisecond, 625 * time.Millisecond},
		"nothing": {"0", 500 * time.Millisecond, 625 * time.Millisecond},
		"garbled": {"soon", 500 * time.Millisecond, 625 * time.Millisecond},
		"past":    {"Sat, 01 Jan 1990 00:00:07 GMT", 500 * time.Millisecond, 625 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var refused atomic.Bool
				f := &fake{handle: func(w http.ResponseWriter, r *http.Request) {
					if refused.CompareAndSwap(false, true) {
						w.Header().Set("Retry-After", test.value)
						say(w, 429, "")
						return
					}
					units(collections)(w, r)
				}}
				b := newBrreg(t, f)
				began := time.Now()
				if _, err := b.Unit(t.Context(), "100100126"); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took < test.least || took > test.most {
					t.Errorf("asked again after %v", took)
				}
			})
		})
	}
}

func TestPauseGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{handle: func(w http.ResponseWriter, _ *http.Request) { say(w, 500, "") }}
		_, _ = newBrreg(t, f).Unit(t.Context(), "100100126")
		for i, least := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second} {
			if pause := f.times[i+1].Sub(f.times[i]); pause < least || pause > least*5/4+1 {
				t.Errorf("pause %d was %v", i, pause)
			}
		}
	})
}

// A register that wants to be left alone for long, or does not answer three calls in a row, is left alone.
func TestRest(t *testing.T) {
	for name, test := range map[string]struct {
		retryAfter  string
		calls, sent int
		rest        time.Duration
	}{
		"asked for": {"120", 1, 1, 120 * time.Second},
		"for hours": {"36000", 1, 1, 300 * time.Second},
		"for ages":  {"2147483648", 1, 1, 300 * time.Second},
		"for ever":  {"99999999999999999999", 1, 1, 300 * time.Second},
		"hopeless":  {"", 3, 12, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{handle: func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Retry-After", test.retryAfter)
					say(w, 503, "")
				}}
				b := newBrreg(t, f)
				ask := func(n int) {
					t.Helper()
					if _, err := b.Unit(t.Context(), fmt.Sprint(100000000+n)); err == nil {
						t.Error("no error")
					}
				}
				for n := range test.calls {
					ask(n)
				}
				if len(f.paths) != test.sent {
					t.Errorf("sent %d times", len(f.paths))
				}
				time.Sleep(test.rest - time.Second)
				ask(90)
				if len(f.paths) != test.sent {
					t.Error("the register was not left alone")
				}
				f.handle = units(collections)
				time.Sleep(2 * time.Second)
				if _, err := b.Unit(t.Context(), "100100126"); err != nil {
					t.Error("not asked again:", err)
				}
			})
		})
	}
}

func TestFourAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{handle: func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Second)
			say(w, 200, `{"organisasjonsnummer":"`+r.URL.Path[len("/api/enheter/"):]+`"}`)
		}}
		b := newBrreg(t, f)
		var group sync.WaitGroup
		for n := range 40 {
			group.Go(func() {
				if _, err := b.Unit(t.Context(), fmt.Sprint(100000000+n/2)); err != nil { // each number twice
					t.Error(err)
				}
			})
		}
		group.Wait()
		if f.peak != 4 || len(f.paths) != 20 {
			t.Errorf("%d calls at once, %d in all", f.peak, len(f.paths))
		}
	})
}

// Whoever leaves gets an answer at once; who waits for the same answer goes on alone.
func TestLeaving(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := true
		f := &fake{handle: func(w http.ResponseWriter, r *http.Request) {
			if first {
				first = false
				<-r.Context().Done()
				return
			}
			say(w, 200, top)
		}}
		b := newBrreg(t, f)
		ctx, cancel := context.WithCancel(t.Context())
		var left error
		var group sync.WaitGroup
		group.Go(func() { _, left = b.Unit(ctx, "100100126") })
		synctest.Wait()
		group.Go(func() {
			if unit, err := b.Unit(t.Context(), "100100126"); err != nil || unit.Name != "EKSEMPEL AS" {
				t.Error(unit, err)
			}
		})
		synctest.Wait()
		cancel()
		group.Wait()
		if !errors.Is(left, context.Canceled) {
			t.Error(left)
		}
	})
}

func TestAddress(t *testing.T) {
	for _, address := range []string{"", "register.example", "ftp://register.example", "https://", "https://u:p@register.example", "https://register.example?x=1", "https://register.example#x"} {
		if _, err := register.NewBrreg(register.Options{URL: address}); err == nil || strings.Contains(err.Error(), "u:p") {
			t.Errorf("%q: %v", address, err)
		}
		if _, err := register.NewAddresses(register.Options{URL: address}); err == nil {
			t.Errorf("%q was taken", address)
		}
	}
}

// parties answers as Adresseregisteret does, with what it knows.
func parties(known map[int]string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var asked []int
		if r.Method != http.MethodPost || r.URL.Path != "/ar/communicationparty" || json.NewDecoder(r.Body).Decode(&asked) != nil || len(asked) < 1 || len(asked) > 100 {
			say(w, 400, "{}")
			return
		}
		var found []string
		for _, id := range asked {
			if party, ok := known[id]; ok {
				found = append(found, party)
			}
		}
		say(w, 200, "["+strings.Join(found, ",")+"]")
	}
}

func newAddresses(t *testing.T, f *fake) *register.Addresses {
	t.Helper()
	a, err := register.NewAddresses(register.Options{URL: "https://register.example/ar/", Transport: f})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestParties(t *testing.T) {
	f := &fake{handle: parties(map[int]string{
		1: `{"herId":1,"name":"Eksempel AS","type":"Organization","parentHerId":null,"organizationNumber":"100100126","active":true,"validTo":null}`,
		2: `{"herId":2,"name":"Legevakt","type":"Service","parentHerId":1,"organizationNumber":null,"active":true}`,
		3: `{"herId":3,"name":"Lege","type":"Person","parentHerId":2,"active":false}`,
		4: `{"herId":4,"type":"Service","parentHerId":99}`,
		5: `{"HerId":"5","Type":"OrganizationCommunicationParty","OrganizationNumber":"999944582","IsActive":true,"ValidTo":"2001-01-01"}`,
		6: `{"herId":6,"type":"OrganizationPerson","parent":{"herId":1}}`,
		7: `{"herId":7,"parentHerId":7}`,
	})}
	a := newAddresses(t, f)
	got, err := a.Parties(t.Context(), []string{"3", "1", "4", "5", "6", "7", "8", "3", "nonsense", "01", "-1", ""})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]register.Party{
		"1": {HERID: "1", Name: "Eksempel AS", Kind: register.KindOrganization, Active: true, Orgnr: "100100126"},
		"3": {HERID: "3", Name: "Lege", Kind: register.KindPerson, Parent: "2", Orgnr: "100100126"},
		"4": {HERID: "4", Kind: register.KindService, Active: true, Parent: "99"},
		"5": {HERID: "5", Kind: register.KindOrganization, Orgnr: "999944582"},
		"6": {HERID: "6", Kind: register.KindPerson, Active: true, Parent: "1", Orgnr: "100100126"},
		"7": {HERID: "7", Active: true, Parent: "7"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"[1,3,4,5,6,7,8]", "[2,99]"}, f.bodies); diff != "" {
		t.Error(diff)
	}
	if _, err := a.Parties(t.Context(), []string{"3", "8", "99"}); err != nil || len(f.bodies) != 2 {
		t.Error("what is known was asked again:", err, f.bodies)
	}
}

func TestPartiesInBulk(t *testing.T) {
	known := make(map[int]string)
	var ids []string
	for n := 1; n <= 250; n++ {
		known[n] = fmt.Sprintf(`{"herId":%d,"organizationNumber":"100100126"}`, n)
		ids = append(ids, fmt.Sprint(n))
	}
	f := &fake{handle: parties(known)}
	got, err := newAddresses(t, f).Parties(t.Context(), ids)
	if err != nil || len(got) != 250 || len(f.bodies) != 3 {
		t.Errorf("%d found in %d questions: %v", len(got), len(f.bodies), err)
	}
	if none, err := newAddresses(t, f).Parties(t.Context(), nil); err != nil || len(none) != 0 || len(f.bodies) != 3 {
		t.Error(none, err)
	}
}

func TestPartiesRefused(t *testing.T) {
	for _, body := range []string{
		`{}`, `null`, `"x"`, `[1]`, `[{}]`, `[{"herId":0}]`, `[{"herId":1,"organizationNumber":"12"}]`, `[{"herId":1,"active":"yes"}]`, `[{"herId":1.5}]`, `[null]`,
	} {
		f := &fake{handle: func(w http.ResponseWriter, _ *http.Request) { say(w, 200, body) }}
		got, err := newAddresses(t, f).Parties(t.Context(), []string{"1"})
		if _, ok := errors.AsType[*register.Error](err); !ok {
			t.Errorf("%s: %v %v", body, got, err)
		}
	}
	f := &fake{handle: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }}
	if _, err := newAddresses(t, f).Parties(t.Context(), []string{"1"}); err == nil || !strings.Contains(err.Error(), "understood") {
		t.Error(err)
	}
	f = &fake{handle: func(w http.ResponseWriter, _ *http.Request) {
		say(w, 200, `{"items":[{"herId":1,"orgnr":"100100126"},{"herId":2}]}`)
	}}
	got, err := newAddresses(t, f).Parties(t.Context(), []string{"1"})
	if err != nil || len(got) != 1 || got["1"].Orgnr != "100100126" {
		t.Error(got, err)
	}
	// What nobody asked about is not believed.
	a := newAddresses(t, f)
	_, _ = a.Parties(t.Context(), []string{"1"})
	asked := len(f.bodies)
	if _, err := a.Parties(t.Context(), []string{"2"}); err != nil || len(f.bodies) != asked+1 {
		t.Error("a party that was not asked about is remembered", err)
	}
}

// refusing is a transport that gets no token.
type refusing struct{ asked int }

func (r *refusing) RoundTrip(*http.Request) (*http.Response, error) { r.asked++; return nil, r }
func (r *refusing) Error() string                                   { return "client-not-approved: said no" }
func (r *refusing) Detail() string                                  { return "HelseID said no" }
func (r *refusing) Hint() string                                    { return "" }

// Without a token there is no use in asking again.
func TestNoToken(t *testing.T) {
	transport := new(refusing)
	a, err := register.NewAddresses(register.Options{URL: "https://register.example", Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Parties(t.Context(), []string{"1"})
	e, ok := errors.AsType[*register.Error](err)
	if !ok || err.Error() != "asking Adresseregisteret: there is no token for it: HelseID said no" || !strings.Contains(e.Mend, "scope") || transport.asked != 1 {
		t.Errorf("%v %+v", err, e)
	}
}

func TestHeaders(t *testing.T) {
	f := &fake{handle: parties(nil)}
	_, _ = newAddresses(t, f).Parties(t.Context(), []string{"1"})
	var names []string
	for name := range f.headers[0] {
		names = append(names, name)
	}
	slices.Sort(names)
	if diff := cmp.Diff([]string{"Accept", "Content-Type", "User-Agent"}, names); diff != "" {
		t.Error(diff)
	}
}

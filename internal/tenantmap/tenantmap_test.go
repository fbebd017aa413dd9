package tenantmap

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sfm-sidecar/internal/journal"
)

const (
	parent      = "100100126"
	child       = "999944582"
	wrong       = "100100127" // its check digit is
	journalUUID = "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35"
	upper       = "7FBFBCBD-6F08-4E95-9F7A-9D69C40F6A35"
)

func newMap(t testing.TB, opts Options) *Map {
	t.Helper()
	m, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// check compares a refusal with the code and the words that its detail must have; an empty code means none.
func check(t *testing.T, err error, code, words string) {
	t.Helper()
	if code == "" {
		if err != nil {
			t.Errorf("refused: %v", err)
		}
		return
	}
	refusal, ok := errors.AsType[*Error](err)
	if !ok || refusal.Code() != code || !strings.Contains(refusal.Detail(), words) {
		t.Fatalf("error %v, want %s with %q", err, code, words)
	}
	if refusal.Hint() == "" || refusal.Error() == "" {
		t.Errorf("%s has no hint or no text", code)
	}
}

func TestLookup(t *testing.T) {
	both := Tenant{parent, child, journalUUID}
	long := strings.Repeat("1", 257)
	tests := []struct {
		name    string
		headers http.Header
		want    Tenant
		code    string
		words   string
	}{
		{"all three", http.Header{ParentHeader: {parent}, ChildHeader: {child}, JournalHeader: {journalUUID}}, both, "", ""},
		{"no child", http.Header{ParentHeader: {parent}, JournalHeader: {journalUUID}}, Tenant{parent, "", journalUUID}, "", ""},
		{"journal as written", http.Header{ParentHeader: {parent}, JournalHeader: {upper}}, Tenant{parent, "", upper}, "", ""},
		{"journal in braces", http.Header{ParentHeader: {parent}, JournalHeader: {"{" + upper + "}"}}, Tenant{parent, "", upper}, "", ""},
		{"other headers", http.Header{ParentHeader: {parent}, JournalHeader: {journalUUID}, "Sfm-Session": {"a", "b"}}, Tenant{parent, "", journalUUID}, "", ""},
		{"present without values", http.Header{ParentHeader: {parent}, ChildHeader: {}, JournalHeader: {journalUUID}}, Tenant{parent, "", journalUUID}, "", ""},
		{"wrong check digit", http.Header{ParentHeader: {wrong}, JournalHeader: {journalUUID}}, Tenant{wrong, "", journalUUID}, "", ""},

		{"nothing", http.Header{}, Tenant{}, "tenant-missing", ParentHeader},
		{"no header map", nil, Tenant{}, "tenant-missing", ParentHeader},
		{"no parent", http.Header{ChildHeader: {child}, JournalHeader: {journalUUID}}, Tenant{}, "tenant-missing", ParentHeader},
		{"only a journal", http.Header{JournalHeader: {journalUUID}}, Tenant{}, "tenant-missing", ParentHeader},
		{"no journal", http.Header{ParentHeader: {parent}, ChildHeader: {child}}, Tenant{}, "tenant-missing", JournalHeader},

		{"parent twice", http.Header{ParentHeader: {parent, parent}, JournalHeader: {journalUUID}}, Tenant{}, "request-invalid", ParentHeader},
		{"child twice", http.Header{ParentHeader: {parent}, ChildHeader: {child, ""}, JournalHeader: {journalUUID}}, Tenant{}, "request-invalid", ChildHeader},
		{"journal twice", http.Header{ParentHeader: {parent}, JournalHeader: {journalUUID, upper}}, Tenant{}, "request-invalid", JournalHeader},
		{"alias twice", http.Header{AliasHeader: {"a", "b"}}, Tenant{}, "request-invalid", AliasHeader},
		{"empty parent", http.Header{ParentHeader: {""}, JournalHeader: {journalUUID}}, Tenant{}, "request-invalid", ParentHeader},
		{"empty child", http.Header{ParentHeader: {parent}, ChildHeader: {""}, JournalHeader: {journalUUID}}, Tenant{}, "request-invalid", ChildHeader},
		{"empty journal", http.Header{ParentHeader: {parent}, JournalHeader: {""}}, Tenant{}, "request-invalid", JournalHeader},
		{"empty alias", http.Header{ParentHeader: {parent}, JournalHeader: {journalUUID}, AliasHeader: {""}}, Tenant{}, "request-invalid", AliasHeader},
		{"long parent", http.Header{ParentHeader: {long}, JournalHeader: {journalUUID}}, Tenant{}, "request-invalid", "more than 256 bytes"},
		{"long alias", http.Header{AliasHeader: {long}}, Tenant{}, "request-invalid", AliasHeader},

		{"alias and parent", http.Header{AliasHeader: {"a"}, ParentHeader: {parent}}, Tenant{}, "tenant-ambiguous", AliasHeader},
		{"alias and child", http.Header{AliasHeader: {"a"}, ChildHeader: {child}}, Tenant{}, "tenant-ambiguous", AliasHeader},
		{"alias and journal", http.Header{AliasHeader: {"a"}, JournalHeader: {journalUUID}}, Tenant{}, "tenant-ambiguous", AliasHeader},
		{"alias", http.Header{AliasHeader: {"sentrum"}}, Tenant{}, "tenant-unknown", AliasHeader},
		{"longest alias", http.Header{AliasHeader: {long[1:]}}, Tenant{}, "tenant-unknown", AliasHeader},

		{"child is the parent", http.Header{ParentHeader: {parent}, ChildHeader: {parent}, JournalHeader: {journalUUID}}, Tenant{}, "tenant-invalid", ChildHeader},
		{"bad child", http.Header{ParentHeader: {parent}, ChildHeader: {"12345678"}, JournalHeader: {journalUUID}}, Tenant{}, "tenant-invalid", ChildHeader},
		{"values joined by somebody", http.Header{ParentHeader: {parent + ", " + parent}, JournalHeader: {journalUUID}}, Tenant{}, "tenant-invalid", ParentHeader},
	}
	m := newMap(t, Options{})
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := test.headers.Clone()
			got, err := m.Lookup(test.headers)
			check(t, err, test.code, test.words)
			if got != test.want {
				t.Errorf("Lookup gives %+v, want %+v", got, test.want)
			}
			if diff := cmp.Diff(before, test.headers); diff != "" {
				t.Errorf("the headers were changed:\n%s", diff)
			}
		})
	}
}

func TestMalformedNumbers(t *testing.T) {
	m := newMap(t, Options{})
	for _, number := range []string{
		"1", "10010012", "1001001260", "100 100 126", "10010012x", " 100100126", "100100126\n", "-00100126", "+00100126",
		"NO100100126", "100100126MVA", "NO:ORGNR:1", "１２３４５６７８９", "01010112345", "1e0100126",
	} {
		_, err := m.Parse(number, "", journalUUID)
		check(t, err, "tenant-invalid", "parent is not an organization number")
		if strings.Contains(err.Error(), number) && len(number) > 1 {
			t.Error("the error repeats what was sent, which may be a national identity number")
		}
	}
}

func TestJournalIDs(t *testing.T) {
	m := newMap(t, Options{})
	tests := []struct{ sent, want, words string }{
		{journalUUID, journalUUID, ""},
		{upper, upper, ""},
		{"{" + journalUUID + "}", journalUUID, ""},
		{"00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000001", ""},
		{"{" + journalUUID, "", "not a UUID"},
		{journalUUID + "}", "", "not a UUID"},
		{"{{" + journalUUID + "}}", "", "not a UUID"},
		{"(" + journalUUID + ")", "", "not a UUID"},
		{"urn:uuid:" + journalUUID, "", "not a UUID"},
		{strings.ReplaceAll(journalUUID, "-", ""), "", "not a UUID"},
		{journalUUID[:35], "", "not a UUID"},
		{journalUUID + "0", "", "not a UUID"},
		{"g" + journalUUID[1:], "", "not a UUID"},
		{strings.Replace(journalUUID, "-", "0", 1), "", "not a UUID"},
		{journalUUID[:35] + "-", "", "not a UUID"},
		{"{}", "", "not a UUID"},
		{"00000000-0000-0000-0000-000000000000", "", "zeros"},
		{"{00000000-0000-0000-0000-000000000000}", "", "zeros"},
	}
	for _, test := range tests {
		t.Run(test.sent, func(t *testing.T) {
			got, err := m.Parse(parent, "", test.sent)
			code := ""
			if test.words != "" {
				code = "tenant-invalid"
			}
			check(t, err, code, test.words)
			if got.Journal != test.want {
				t.Errorf("journal %q, want %q", got.Journal, test.want)
			}
		})
	}
}

func TestParseNamesItsOwnFields(t *testing.T) {
	m := newMap(t, Options{})
	tests := map[string]struct{ parent, child, journal, code, words string }{
		"no parent":        {"", child, journalUUID, "tenant-missing", "parent is missing"},
		"no journal":       {parent, child, "", "tenant-missing", "journal is missing"},
		"nothing":          {"", "", "", "tenant-missing", "parent is missing"},
		"child the parent": {parent, parent, journalUUID, "tenant-invalid", "child is " + parent},
		"bad child":        {parent, "1", journalUUID, "tenant-invalid", "child is not"},
		"good":             {parent, child, journalUUID, "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := m.Parse(test.parent, test.child, test.journal)
			check(t, err, test.code, test.words)
			if test.code == "" && got != (Tenant{parent, child, journalUUID}) {
				t.Errorf("Parse gives %+v", got)
			}
		})
	}
}

func TestCheckDigit(t *testing.T) {
	tests := map[string]bool{
		"100100126": true, "100100125": false, "100100127": false,
		"999944582": true, "999944581": false,
		"123456785": true, "123456789": false,
		"000000000": true,                      // the remainder 0 gives the digit 0
		"400000000": false, "400000001": false, // the digit would be 10: there is no such number
	}
	for number, want := range tests {
		if got := journal.CheckDigitFits(number); got != want {
			t.Errorf("the check digit of %s fits: %v, want %v", number, got, want)
		}
	}
	for first := range 100_000_000 / 9973 { // exactly one digit fits, or none
		fits := 0
		for digit := range 10 {
			if journal.CheckDigitFits(fmt.Sprintf("%08d%d", first*9973, digit)) {
				fits++
			}
		}
		if fits > 1 {
			t.Fatalf("%d digits fit %08d", fits, first*9973)
		}
	}
}

func TestCheckDigitStrict(t *testing.T) {
	warned := false
	m := newMap(t, Options{CheckDigit: "strict", Warn: func(string) { warned = true }})
	_, err := m.Parse(wrong, "", journalUUID)
	check(t, err, "tenant-invalid", "parent is "+wrong)
	_, err = m.Parse(parent, wrong, journalUUID)
	check(t, err, "tenant-invalid", "child is "+wrong)
	_, err = m.Parse(parent, child, journalUUID)
	check(t, err, "", "")
	if warned {
		t.Error("a refusal came with a warning")
	}
}

func TestCheckDigitWarnsOnce(t *testing.T) {
	var warnings []string
	m := newMap(t, Options{CheckDigit: "warn", Warn: func(field string) { warnings = append(warnings, field) }})
	for range 3 {
		for _, h := range []http.Header{
			{ParentHeader: {wrong}, JournalHeader: {journalUUID}},
			{ParentHeader: {parent}, ChildHeader: {"999944581"}, JournalHeader: {journalUUID}},
		} {
			if _, err := m.Lookup(h); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff([]string{"Sfm-Orgnr-Parent " + wrong, "Sfm-Orgnr-Child 999944581"}, warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestWarningsAreBounded(t *testing.T) {
	var mu sync.Mutex
	warnings := 0
	m := newMap(t, Options{Warn: func(string) { mu.Lock(); defer mu.Unlock(); warnings++ }})
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 1500 {
				_, _ = m.Parse(fmt.Sprintf("%09d", 100000000+10*i+worker%2), "", journalUUID)
			}
		})
	}
	group.Wait()
	if warnings != maxWarned || len(m.warned) != maxWarned {
		t.Errorf("%d warnings, %d numbers kept, want %d", warnings, len(m.warned), maxWarned)
	}
}

func TestListedWithoutARegistryRefusesAll(t *testing.T) {
	m := newMap(t, Options{Listed: true})
	_, err := m.Parse(parent, child, journalUUID)
	check(t, err, "tenant-unknown", "the organization "+child+" below "+parent+" with this journal-id is not in the tenant registry")
	_, err = m.Parse(parent, "", journalUUID)
	check(t, err, "tenant-unknown", "the organization "+parent+" with")
	for numbers, want := range map[Tenant]bool{{parent, child, journalUUID}: true, {parent, "1", journalUUID}: false} {
		if _, listed, err := m.Read(numbers.Parent, numbers.Child, numbers.Journal); listed || (err == nil) != want {
			t.Errorf("read %v: listed %t, %v", numbers, listed, err)
		}
	}
	_, err = m.Parse("1", child, journalUUID)
	check(t, err, "tenant-invalid", "parent")
}

// An alias is repeated where it looks like one. It may be anything, a national identity number above all.
func TestUnknownAliasIsShown(t *testing.T) {
	m := newMap(t, Options{})
	for alias, shown := range map[string]bool{
		"sentrum": true, "nord-2": true, "Eksempel_1.a": true, "13116900216": false, "x13116900216": false, "131169-00216a": false,
		"a b": false, "blåbær": false, "<b>": false, strings.Repeat("a", 33): false, "12": false,
	} {
		_, err := m.Alias(alias)
		if refusal, ok := errors.AsType[*Error](err); !ok || strings.Contains(refusal.Detail(), alias) != shown {
			t.Errorf("%q: %v", alias, err)
		}
	}
	if _, listed, err := m.Read(parent, child, journalUUID); err != nil || !listed {
		t.Errorf("where every tenant passes: listed %t, %v", listed, err)
	}
}

func TestNewRefusesUnknownWords(t *testing.T) {
	if _, err := New(Options{CheckDigit: "Strict"}); err == nil {
		t.Error("an unknown word is accepted")
	}
}

func TestFolded(t *testing.T) {
	written := Tenant{parent, child, upper}
	if got := written.Folded(); got != (Tenant{parent, child, journalUUID}) || written.Journal != upper {
		t.Errorf("Folded gives %+v", got)
	}
}

func TestHeadersAreCanonical(t *testing.T) {
	for _, name := range Headers {
		if name != http.CanonicalHeaderKey(name) {
			t.Errorf("%s is never found in a header map", name)
		}
	}
}

// FuzzLookup: what is let through is well-formed, what is refused is not repeated.
func FuzzLookup(f *testing.F) {
	f.Add(parent, child, journalUUID, "")
	f.Add(parent, "", "{"+upper+"}", "")
	f.Add("01010112345", "x", "\x00", "sentrum")
	m, err := New(Options{CheckDigit: "strict"})
	if err != nil {
		f.Fatal(err)
	}
	ours := fixedTexts(f, m)
	known := map[string]bool{"request-invalid": true, "tenant-missing": true, "tenant-invalid": true, "tenant-ambiguous": true, "tenant-unknown": true}
	f.Fuzz(func(t *testing.T, p, c, j, alias string) {
		h := http.Header{}
		for name, value := range map[string]string{ParentHeader: p, ChildHeader: c, JournalHeader: j, AliasHeader: alias} {
			if value != "" {
				h[name] = []string{value}
			}
		}
		got, err := m.Lookup(h)
		if err != nil {
			refusal, ok := errors.AsType[*Error](err)
			if !ok || !known[refusal.Code()] || refusal.Detail() == "" || refusal.Hint() == "" || got != (Tenant{}) {
				t.Fatalf("a broken refusal: %v", err)
			}
			for _, value := range []string{p, c, j, alias} {
				if len(value) >= 10 && strings.Contains(refusal.Detail()+refusal.Hint(), value) && !strings.Contains(ours, value) {
					t.Fatalf("the refusal repeats %q", value)
				}
			}
			return
		}
		if alias != "" || got.Parent != p || got.Child != c || strings.Trim(j, "{}") != got.Journal {
			t.Fatalf("%+v was made of %q, %q, %q, %q", got, p, c, j, alias)
		}
		if !journal.IsOrgnr(got.Parent) || !journal.CheckDigitFits(got.Parent) || got.Child != "" && !journal.IsOrgnr(got.Child) || got.Child == got.Parent || !journal.IsUUID(got.Journal) {
			t.Fatalf("%+v was let through", got)
		}
		if again, err := m.Parse(got.Parent, got.Child, got.Journal); err != nil || again != got {
			t.Fatalf("Parse gives %+v, %v for %+v", again, err, got)
		}
	})
}

// fixedTexts collects what the refusals say of themselves, so that a fuzzed value may happen to be a part of that.
func fixedTexts(f *testing.F, m *Map) string {
	var texts strings.Builder
	for _, h := range []http.Header{
		{},
		{ParentHeader: {parent}},
		{ParentHeader: {"x"}, JournalHeader: {journalUUID}},
		{ParentHeader: {parent}, ChildHeader: {"x"}, JournalHeader: {journalUUID}},
		{ParentHeader: {parent}, ChildHeader: {parent}, JournalHeader: {journalUUID}},
		{ParentHeader: {parent}, ChildHeader: {wrong}, JournalHeader: {journalUUID}},
		{ParentHeader: {wrong}, JournalHeader: {journalUUID}},
		{ParentHeader: {parent}, JournalHeader: {"x"}},
		{ParentHeader: {parent}, JournalHeader: {"00000000-0000-0000-0000-000000000000"}},
		{ParentHeader: {strings.Repeat("x", 257)}},
		{ChildHeader: {strings.Repeat("x", 257)}},
		{JournalHeader: {strings.Repeat("x", 257)}},
		{AliasHeader: {strings.Repeat("x", 257)}},
		{AliasHeader: {"x"}},
		{AliasHeader: {"x"}, ParentHeader: {"x"}},
	} {
		_, err := m.Lookup(h)
		refusal, ok := errors.AsType[*Error](err)
		if !ok {
			f.Fatalf("not refused: %v", h)
		}
		texts.WriteString(refusal.Detail() + "\n" + refusal.Hint() + "\n")
	}
	return texts.String()
}

func BenchmarkLookup(b *testing.B) {
	m := newMap(b, Options{})
	h := http.Header{ParentHeader: {parent}, ChildHeader: {child}, JournalHeader: {upper}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Lookup(h); err != nil {
			b.Fatal(err)
		}
	}
}

package control

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"path/filepath"
	"time"
)

//go:embed status.html
var statusSource string

//go:embed status.css
var statusStyle string

// statusPolicy is [pagePolicy] for the status page's style.
var statusPolicy = policyFor(style + statusStyle)

// policyFor lets a page do nothing but apply one style.
func policyFor(css string) string {
	sum := sha256.Sum256([]byte(css))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// statusPages are the page's templates in Norwegian and English. Where the two
// languages differ, the template holds both: {{say "norsk" "English"}}.
var statusPages = [2]*template.Template{
	statusTemplate(reader{}), statusTemplate(reader{english: true}),
}

func statusTemplate(r reader) *template.Template {
	return template.Must(template.New("status").Funcs(template.FuncMap{"say": r.say}).Parse(statusSource))
}

// statusView is the page's content in the reader's language.
type statusView struct {
	Status
	Language string
	Style    template.CSS
	Level    level
	Role     string
	First    advice
	Others   []advice

	Parties     []statusRow
	TenantRows  []statusRow
	RefusalRows []statusRow
	Facts       []statusFact
	Faults      []Fault
	Written     string
}

// statusRow is one line of a table. Bad marks one that somebody should look at.
type statusRow struct {
	Name, Detail  string
	State, Advice string
	When, Call    string
	Code          string
	Bad           bool
}

// statusFact is a name with its value.
type statusFact struct{ Name, Value string }

// WriteStatus writes the status page. Who may read it is the caller's to judge.
func WriteStatus(w http.ResponseWriter, r *http.Request, s Status) {
	to := reader{english: english(r.Header.Get("Accept-Language")), now: s.Now}
	v, pages := to.view(s), statusPages[0]
	if to.english {
		pages = statusPages[1]
	}
	var body bytes.Buffer
	if err := pages.Execute(&body, v); err != nil {
		panic("BUG: the status template fails: " + err.Error())
	}
	writeHTML(w, r, htmlPage{status: http.StatusOK, language: v.Language, policy: statusPolicy, body: body.Bytes()})
}

// htmlPage is a page ready to be sent.
type htmlPage struct {
	status           int
	language, policy string
	body             []byte
}

func writeHTML(w http.ResponseWriter, r *http.Request, p htmlPage) {
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Content-Language", p.language)
	header.Set("Content-Security-Policy", p.policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(p.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(p.body) // a browser that left needs no answer
	}
}

func (r reader) view(s Status) statusView {
	v := statusView{
		Status: s, Language: "nb", Style: template.CSS(style + statusStyle), First: r.fine(s), Role: "status",
		Parties: r.parties(s), TenantRows: r.tenantRows(s), RefusalRows: r.refusalRows(s), Facts: r.facts(s), Faults: faultLines(s.Registry.Faults),
		Written: s.Now.Format("2006-01-02 15:04:05 MST"),
	}
	if r.english {
		v.Language = "en"
	}
	for i, t := range s.troubles() {
		if i == 0 {
			v.First = r.advice(t)
			continue
		}
		v.Others = append(v.Others, r.advice(t))
	}
	if v.Level = v.First.Level; v.Level == bad {
		v.Role = "alert"
	}
	return v
}

// fine is the opening line when there is no trouble.
func (r reader) fine(s Status) advice {
	body := r.say("Ingen kall har gått til SFM siden sidecaren startet.", "No call has gone to SFM since the sidecar started.")
	var last time.Time
	for _, u := range s.Upstreams {
		if u.At.After(last) && !u.failing() {
			last = u.At
		}
	}
	if !last.IsZero() {
		body = r.say("SFM svarte sist %s.", "SFM last answered %s.", r.ago(last))
	}
	return advice{text: text{r.say("Alt er i orden", "All is well"), body}}
}

func (r reader) parties(s Status) []statusRow {
	id := statusRow{Name: "HelseID", Detail: s.HelseID.Host, State: r.say("ikke spurt ennå", "not asked yet")}
	switch h := s.HelseID; {
	case h.Refused != "":
		id.State, id.When, id.Code, id.Bad = r.say("godtar ikke dette systemet", "does not accept this system"), r.ago(h.Answered), h.Refused, true
	case !h.Down.IsZero():
		id.State, id.When, id.Bad = r.say("svarer ikke", "does not answer"), r.ago(h.Failed), true
	case !h.Answered.IsZero():
		id.State, id.When = r.say("svarer", "answers"), r.ago(h.Answered)
	}
	rows := []statusRow{id}
	if s.Store != nil {
		rows = append(rows, r.storeRow(*s.Store))
	}
	for _, u := range s.Upstreams {
		row := statusRow{Name: "SFM " + u.Name, Detail: u.Host, State: r.say("ikke kalt ennå", "not called yet"), Bad: u.failing()}
		switch {
		case u.Code != "":
			row.State, row.Code = r.say("svarte ikke", "did not answer"), u.Code
		case u.failing():
			row.State = r.say("svarte med feil (%d)", "answered with an error (%d)", u.Status)
		case u.Status != 0:
			row.State = r.say("svarte (%d)", "answered (%d)", u.Status)
		}
		if !u.At.IsZero() {
			row.When = r.ago(u.At)
		}
		rows = append(rows, row)
	}
	return rows
}

func (r reader) storeRow(s Store) statusRow {
	row := statusRow{
		Name: r.say("Felles lager", "Shared store"), Detail: s.Kind, State: r.say("ikke spurt ennå", "not asked yet"),
		When: r.ago(s.Answered), Bad: !s.Resting.IsZero(),
	}
	if s.TLS {
		row.Detail += ", TLS"
	}
	switch {
	case row.Bad:
		row.State, row.When, row.Code = r.say("svarer ikke siden %s", "has not answered since %s", r.clock(s.Resting)), r.ago(s.Failed), s.Reason
	case s.Failed.After(s.Answered):
		row.State, row.When, row.Code = r.say("siste kall feilet", "the last call failed"), r.ago(s.Failed), s.Reason
	case !s.Answered.IsZero():
		row.State = r.say("svarer", "answers")
		if r.now.Sub(s.Failed) < recent {
			row.State += r.say("; feilet sist %s", "; failed last %s", r.clock(s.Failed))
			row.Code = s.Reason
		}
	default:
		row.When = ""
	}
	return row
}

func (r reader) tenantRows(s Status) []statusRow {
	var rows []statusRow
	for _, t := range s.Tenants {
		row := statusRow{Name: t.title(), Detail: t.numbers() + ", journal " + t.Journal, State: r.say("klar, ingen token nå", "ready, no token now")}
		switch {
		case t.Trouble != nil:
			says := r.refusal(*t.Trouble)
			row.State, row.Advice, row.Call, row.Bad = says.Title, says.Body, r.contact(contactOf(*t.Trouble)), true
			row.When, row.Code = r.ago(t.Trouble.At), t.Trouble.code()
		case t.Tokens > 0:
			row.State = r.say("virker; token til %s", "works; token until %s", r.clock(t.Until))
			if t.Failing {
				row.State += r.say(", fornyes ikke nå", ", not renewed now")
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// faultLines are faults without the folders of their files: the page names the whole
// path elsewhere.
func faultLines(faults []Fault) []Fault {
	var lines []Fault
	for _, f := range faults {
		lines = append(lines, Fault{filepath.Base(f.Where), f.Problem, f.Mend})
	}
	return lines
}

// title is what a person calls a tenant.
func (t Tenant) title() string {
	switch {
	case t.Name != "" && t.Alias != "":
		return t.Name + " (" + t.Alias + ")"
	case t.Name != "":
		return t.Name
	case t.Alias != "":
		return t.Alias
	case t.Child != "":
		return t.Child
	}
	return t.Parent
}

func (t Tenant) numbers() string {
	if t.Child == "" {
		return t.Parent
	}
	return t.Parent + " / " + t.Child
}

// whole names a tenant where nothing beside it does.
func (t Tenant) whole() string {
	if t.Name == "" && t.Alias == "" {
		return t.numbers()
	}
	return t.title() + ", " + t.numbers()
}

// code is a refusal's code with what NHN will ask for.
func (r Refusal) code() string {
	code := r.Code
	for _, more := range []string{r.Reason, r.HID} {
		if more != "" {
			code += " " + more
		}
	}
	return code
}

func (r reader) refusalRows(s Status) []statusRow {
	names := make(map[[3]string]string)
	for _, t := range s.Tenants {
		names[[3]string{t.Parent, t.Child, t.Journal}] = t.title()
	}
	var rows []statusRow
	for _, f := range s.Refusals {
		says := r.refusal(f)
		row := statusRow{
			When: r.ago(f.At), State: says.Title, Advice: says.Body, Call: r.contact(contactOf(f)), Code: f.code(), Detail: f.RequestID,
		}
		if f.Parent != "" {
			row.Name = Tenant{Parent: f.Parent, Child: f.Child, Journal: f.Journal, Name: names[[3]string{f.Parent, f.Child, f.Journal}]}.title()
		}
		rows = append(rows, row)
	}
	return rows
}

func (r reader) facts(s Status) []statusFact {
	facts := []statusFact{
		{r.say("Innlogginger", "Log-ins"), r.logIns(s)},
		{r.say("Token i minnet", "Tokens in memory"), fmt.Sprint(s.Tokens)},
		{r.say("Klokken", "The clock"), r.clockFact(s.Clock)},
		{r.say("Nøkkel hos HelseID", "Key at HelseID"), r.keyFact(s.ClientKey)},
	}
	if s.Registry.File != "" {
		facts = append(facts, statusFact{r.say("Register", "Register"), r.say("%d i registeret, lest %s, %s", "%d listed, read %s, %s",
			s.Registry.Tenants, r.ago(s.Registry.Loaded), s.Registry.File)})
	}
	return append(facts, statusFact{"Sidecar", r.say("versjon %s, startet %s", "version %s, started %s", s.Version, r.ago(s.Started))})
}

func (r reader) logIns(s Status) string {
	l := s.Sessions
	said := fmt.Sprint(l.Count)
	if s.Store != nil {
		said += r.say(" brukt her", " used here")
	}
	if !l.NearestEnd.IsZero() {
		said += r.say("; den første går ut %s", "; the first ends %s", r.ago(l.NearestEnd))
	}
	if l.SFMOpen+l.SFMLost > 0 {
		said += r.say(". SFM-økter: %d åpne, %d tapt", ". SFM sessions: %d open, %d lost", l.SFMOpen, l.SFMLost)
	}
	return said
}

func (r reader) clockFact(c Clock) string {
	switch {
	case !c.Measured:
		return r.say("ikke sammenlignet med HelseID ennå", "not compared with HelseID's yet")
	case c.Ahead.Abs() <= clockOff:
		return r.say("går riktig", "is right")
	}
	return r.say("%s feil", "%s off", r.span(c.Ahead))
}

func (r reader) keyFact(k ClientKey) string {
	said := r.say("%s (%s), i bruk siden %s", "%s (%s), in use since %s", k.ID, k.Algorithm, r.clock(k.Since))
	if !k.FileChanged.IsZero() {
		said += r.say(", filen er fra %s", ", the file is of %s", r.clock(k.FileChanged))
	}
	if !k.NotAfter.IsZero() {
		said += r.say(", utløper %s", ", ends %s", r.ago(k.NotAfter))
	}
	return said
}

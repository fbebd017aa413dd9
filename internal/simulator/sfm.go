package simulator

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// sfmState is what the SFM stand-in remembers between calls. Every member has a lock of its own.
type sfmState struct {
	ledger   *ledger
	seen     *seenList
	replays  *replayList
	nonces   *sfmNonces
	gateway  *sfmGateway
	journals *sfmJournals
	uploads  *sfmUploads
	clinical *clinicalAnswers

	operations []sfmOperation // never changed
}

func newSFMState(now func() time.Time) *sfmState {
	return &sfmState{
		ledger:   newLedger(ledgerCap),
		seen:     &seenList{},
		replays:  newReplayList(proofBack + proofAhead + time.Minute),
		nonces:   newSFMNonces(),
		gateway:  newSFMGateway(),
		journals: newSFMJournals(now),
		uploads:  newSFMUploads(),
		clinical: newClinicalAnswers(),

		operations: sfmOperations(),
	}
}

// sfmOperation is one thing SFM can be asked to do.
type sfmOperation struct {
	name   string
	method string
	// path is compared with the decoded path after a version prefix was taken off. A last segment "{id}" stands for
	// any single one, "{rest}" for any number of them.
	path string
	// prefixes are the version prefixes under which the operation exists, by API version.
	prefixes map[bool][]string // by bearer
	// open needs no token; anyJournal is allowed before the journal exists.
	open, anyJournal bool
	// streamed bodies are hashed and thrown away as they come, others are kept for work.
	streamed bool
	// scope is the ordinary one ("sfm") unless it says "sfm-migrering".
	scope string
	// prepare may refuse before the body is read, and may set where a streamed body goes. Nil = nothing to prepare.
	prepare func(*sfmCall) *sfmRefusal
	work    func(*sfmCall) sfmAnswer
}

// Where the operations of a family live. Nobody outside knows the prefix of the FHIR service in version 2, so all
// likely ones are served (reference of the API: "make it a per-upstream base path").
var (
	fhirPrefixes    = map[bool][]string{false: {"", "/v2", "/api/v2"}, true: {"", "/api"}}
	gatewayPrefixes = map[bool][]string{false: {"/api/v2"}, true: {"/api"}}
	uploadPrefixes  = map[bool][]string{false: {"/v2"}, true: {""}}
	anyPrefix       = map[bool][]string{false: {"", "/v2", "/api/v2"}, true: {"", "/api"}}
)

// sfmOperations lists everything the stand-in can do; the first that fits is taken.
func sfmOperations() []sfmOperation {
	return []sfmOperation{
		{name: "metadata", method: "GET", path: "/metadata", prefixes: fhirPrefixes, open: true, work: metadata},
		{name: "getMedication", method: "POST", path: "/Patient/$getMedication", prefixes: fhirPrefixes, work: prescribing(getMedication)},
		{name: "sendMedication", method: "POST", path: "/Patient/$sendMedication", prefixes: fhirPrefixes, work: prescribing(sendMedication)},
		{name: "createOrganization", method: "POST", path: "/Organization", prefixes: fhirPrefixes, anyJournal: true, work: createOrganization},
		{name: "searchOrganization", method: "GET", path: "/Organization", prefixes: fhirPrefixes, work: searchOrganization},
		{name: "readOrganization", method: "GET", path: "/Organization/{id}", prefixes: fhirPrefixes, work: readOrganization},
		{name: "updateOrganization", method: "PUT", path: "/Organization/{id}", prefixes: fhirPrefixes, work: updateOrganization},
		{name: taskSearch, method: "GET", path: "/Task", prefixes: fhirPrefixes, work: searchTask},
		{name: "searchPatient", method: "GET", path: "/Patient", prefixes: fhirPrefixes, work: searchPatient},
		{name: "createPerson", method: "POST", path: "/Person", prefixes: fhirPrefixes, work: createPerson(kindPerson)},
		{name: "searchPerson", method: "GET", path: "/Person", prefixes: fhirPrefixes, work: searchPerson(kindPerson)},
		{name: "readPerson", method: "GET", path: "/Person/{id}", prefixes: fhirPrefixes, work: readPerson(kindPerson)},
		{name: "updatePerson", method: "PUT", path: "/Person/{id}", prefixes: fhirPrefixes, work: updatePerson(kindPerson)},
		{name: "createPractitioner", method: "POST", path: "/Practitioner", prefixes: fhirPrefixes, work: createPerson(kindPractitioner)},
		{name: "searchPractitioner", method: "GET", path: "/Practitioner", prefixes: fhirPrefixes, work: searchPerson(kindPractitioner)},
		{name: "readPractitioner", method: "GET", path: "/Practitioner/{id}", prefixes: fhirPrefixes, work: readPerson(kindPractitioner)},
		{name: "updatePractitioner", method: "PUT", path: "/Practitioner/{id}", prefixes: fhirPrefixes, work: updatePerson(kindPractitioner)},
		{name: "createSession", method: "POST", path: "/Session/create", prefixes: gatewayPrefixes, work: createSession},
		{name: "refreshSession", method: "POST", path: "/Session/refresh", prefixes: gatewayPrefixes, work: refreshSession},
		{name: "endSession", method: "POST", path: "/Session/end", prefixes: gatewayPrefixes, work: endSession},
		{name: "patientTicket", method: "POST", path: "/PatientTicket", prefixes: gatewayPrefixes, work: patientTicket},
		{name: "createUpload", method: "POST", path: "/files", prefixes: uploadPrefixes, scope: migrationScope, streamed: true, work: createUpload},
		{name: "uploadState", method: "HEAD", path: "/files/{id}", prefixes: uploadPrefixes, scope: migrationScope, work: uploadState},
		{name: "uploadPart", method: "PATCH", path: "/files/{id}", prefixes: uploadPrefixes, scope: migrationScope, streamed: true, prepare: prepareUpload, work: uploadPart},
		{name: "download", method: "GET", path: "/download", prefixes: anyPrefix, anyJournal: true, work: download},
		{name: "echo", path: "/echo", prefixes: anyPrefix, anyJournal: true, streamed: true, work: echo},
		{name: "echo", path: "/echo/{rest}", prefixes: anyPrefix, anyJournal: true, streamed: true, work: echo},
	}
}

const taskSearch = "searchTask"

// findOperation looks the operation up. Without one it says which methods the path has, if it is a path at all.
func findOperation(operations []sfmOperation, bearer bool, method, path string) (op *sfmOperation, id string, methods []string) {
	for i := range operations {
		candidate := &operations[i]
		id, ok := candidate.matches(path, bearer)
		switch {
		case !ok:
		case candidate.method == "" || candidate.method == method:
			return candidate, id, nil
		default:
			methods = append(methods, candidate.method)
		}
	}
	return nil, "", methods
}

func (o *sfmOperation) matches(path string, bearer bool) (id string, ok bool) {
	for _, prefix := range o.prefixes[bearer] {
		tail, ok := strings.CutPrefix(path, prefix)
		if !ok {
			continue
		}
		if id, ok := matchTail(o.path, tail); ok {
			return id, true
		}
	}
	return "", false
}

func matchTail(pattern, tail string) (id string, ok bool) {
	if head, ok := strings.CutSuffix(pattern, "{id}"); ok {
		id, ok := strings.CutPrefix(tail, head)
		return id, ok && id != "" && !strings.Contains(id, "/")
	}
	if head, ok := strings.CutSuffix(pattern, "{rest}"); ok {
		return strings.CutPrefix(tail, head)
	}
	return "", tail == pattern
}

// serveSFM is SFM: the Basis FHIR service, the session gateway, the upload service and a few test helpers (echo,
// download), all under one address and told apart by path. There is no ServeMux in front: it would redirect paths
// with "//" or dot segments, and this stand-in is to show what arrived.
func (s *Simulator) serveSFM(w http.ResponseWriter, r *http.Request) { s.receive(w, r).serve() }

// receive enters the request into the ledger and finds out what it wants.
func (s *Simulator) receive(w http.ResponseWriter, r *http.Request) *sfmCall {
	c := &sfmCall{sim: s, w: w, r: r, knobs: s.knobs().SFM, now: s.now(), path: rawPath(r)}
	c.op, c.id, c.methods = findOperation(s.sfm.operations, c.knobs.Bearer, r.Method, r.URL.Path)
	name := "unknown"
	if c.op != nil {
		name = c.op.name
	}
	c.entry = s.sfm.ledger.open(Operation{
		At: c.now, Method: r.Method, Path: c.path, Name: name,
		RequestID: r.Header.Get("X-Request-Id"), Strangers: strangers(r.Header),
	})
	return c
}

// rawPath is the path exactly as it came, with all its percent-encoding and without the query string.
func rawPath(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(path, "/") {
		return r.URL.EscapedPath()
	}
	return path
}

// origin is scheme and host of the address SFM is configured to have; a proof's htu begins with it.
func (c *sfmCall) origin() string {
	if u, err := url.Parse(c.sim.options.SFM); err == nil && u.Host != "" {
		return u.Scheme + "://" + u.Host
	}
	return "http://" + c.r.Host
}

// strangers names the headers that belong to the EPJ's side of a sidecar or tell of machines in between. SFM ignores
// them; that they came at all is a fault worth seeing.
func strangers(h http.Header) []string {
	var names []string
	for name := range h {
		lower := strings.ToLower(name)
		switch {
		case strings.HasPrefix(lower, "sfm-") && lower != "sfm-user-agent",
			strings.HasPrefix(lower, "sidecar-"),
			strings.HasPrefix(lower, "x-forwarded-"),
			lower == "forwarded", lower == "cookie", lower == "origin", lower == "proxy-authorization":
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

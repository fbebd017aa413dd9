package simulator

import (
	"crypto/sha256"
	"encoding/json"
	"math"
	"math/rand/v2"
	"sync"
)

// The sizes of answers of $getMedication seen in the wild are 20 to 200 kB. Those made here are spread evenly over
// the orders of magnitude between, with some room for the last entry.
const (
	smallestAnswer = 21_000
	largestAnswer  = 195_000
)

// clinicalCap bounds how many answers are kept ready.
const clinicalCap = 256

// clinicalKey is what an answer depends on. The same key always gives the same bytes.
type clinicalKey struct {
	patient string // whatever names the patient
	size    int    // 0 = by the patient
	source  string // the address SFM writes into the answer
}

// clinicalAnswers keeps answers ready, packed ones too, so that the stand-in is not the slow part of a load test.
type clinicalAnswers struct {
	mu    sync.Mutex
	ready map[clinicalKey]clinicalAnswer // guarded by mu
}

type clinicalAnswer struct{ body, packed []byte }

func newClinicalAnswers() *clinicalAnswers {
	return &clinicalAnswers{ready: map[clinicalKey]clinicalAnswer{}}
}

// of returns the answer and its gzip form.
func (a *clinicalAnswers) of(key clinicalKey) (body, packed []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	answer, ok := a.ready[key]
	if !ok {
		if len(a.ready) >= clinicalCap {
			clear(a.ready)
		}
		answer.body = medicationAnswer(key)
		answer.packed = pack(answer.body)
		a.ready[key] = answer
	}
	return answer.body, answer.packed
}

// seeded is a source of made-up facts that gives the same ones for the same seed.
type seeded struct{ *rand.Rand }

func newSeeded(seed string) seeded {
	return seeded{rand.New(rand.NewChaCha8(sha256.Sum256([]byte(seed))))}
}

func (s seeded) uuid() string {
	b := make([]byte, 16)
	for i := range b {
		b[i] = byte(s.Uint32())
	}
	return formatUUID(b)
}

func (s seeded) size() int {
	low, high := math.Log(smallestAnswer), math.Log(largestAnswer)
	return int(math.Exp(low + s.Float64()*(high-low)))
}

// medicationAnswer makes the Parameters that $getMedication answers: a document with as many medicines as fill the
// size, and what SFM says about its look-ups.
func medicationAnswer(key clinicalKey) []byte {
	seed := newSeeded("medication/" + key.patient)
	size := seed.size() // drawn in any case, so that the patient stays the same under the knob
	if key.size > 0 {
		size = key.size
	}
	document := seed.document(key.patient, size)
	document["meta"] = resource{"source": key.source}
	return mustJSON(resource{"resourceType": "Parameters", "parameter": []resource{
		{"name": "medication", "resource": document},
		{"name": "KJFeilkode", "valueCodeableConcept": resource{"coding": []resource{codeOK()}}},
		{"name": "RFM96Feilkode", "valueCodeableConcept": resource{"coding": []resource{codeOK()}}},
		{"name": "RFM912Feilkode", "valueCodeableConcept": resource{"coding": []resource{codeOK()}}},
		{"name": "KJHentetTidspunkt", "valueDateTime": "2026-01-05T09:30:00+01:00"},
		{"name": "RFHentetTidspunkt", "valueDateTime": "2026-01-05T09:30:01+01:00"},
		{"name": "KJHarLegemidler", "valueBoolean": true},
		{"name": "KJHarLaste", "valueBoolean": false},
		{"name": "RFHarLaste", "valueBoolean": false},
	}})
}

func mustJSON(value any) []byte {
	body, err := json.Marshal(value)
	if err != nil {
		panic("BUG: made-up data that is not JSON: " + err.Error())
	}
	return body
}

// rawEntry is a Bundle entry already in JSON, so that its size is known while the document grows.
type rawEntry = json.RawMessage

// document is a medication document of about the given size.
func (s seeded) document(patient string, size int) resource {
	practitioner, organization, person := s.practitioner(), s.organization(), s.patient(patient)
	entries := []rawEntry{bundleEntry(practitioner), bundleEntry(organization), bundleEntry(person)}
	total := 4000 // the composition and what stands around the document
	for _, entry := range entries {
		total += len(entry)
	}
	references := []resource{}
	for total < size || len(references) == 0 {
		medicine := s.medicine()
		statement := s.statement(medicine, practitioner, person)
		reference := referenceTo(statement, text(medicine, "name"))
		delete(medicine, "name")
		m, st := bundleEntry(medicine), bundleEntry(statement)
		entries = append(entries, m, st)
		references = append(references, reference)
		total += len(m) + len(st) + 220
	}
	composition := bundleEntry(s.composition(practitioner, person, references))
	return resource{"resourceType": "Bundle", "type": "document", "timestamp": "2026-01-05T09:30:01+01:00",
		"entry": append([]rawEntry{composition}, entries...)}
}

func bundleEntry(r resource) rawEntry {
	return mustJSON(resource{"fullUrl": "urn:uuid:" + text(r, "id"), "resource": r})
}

func referenceTo(r resource, display string) resource {
	return resource{"reference": "urn:uuid:" + text(r, "id"), "type": profile(r), "display": display}
}

func profile(r resource) string {
	meta, _ := r["meta"].(resource)
	profiles, _ := meta["profile"].([]string)
	if len(profiles) == 0 {
		return ""
	}
	return profiles[0]
}

// SampleGetMedication is a body for $getMedication about a synthetic patient with this identifier.
func SampleGetMedication(patient string) []byte {
	return mustJSON(resource{"resourceType": "Parameters", "parameter": []resource{
		{"name": "patient", "resource": newSeeded("medication/" + patient).patient(patient)},
		{"name": "SamtykkeKjernejournal", "valueCode": "HPUNNTAK"},
	}})
}

// SampleSendMedication is a body for $sendMedication of about 25 kB with several prescriptions for a synthetic
// patient. Different seeds give different prescriptions; the same seed gives the same bytes.
func SampleSendMedication(patient, seed string) []byte {
	document := newSeeded("send/"+patient+"/"+seed).document(patient, 24_000)
	return mustJSON(resource{"resourceType": "Parameters", "parameter": []resource{
		{"name": "medication", "resource": document},
	}})
}

// SampleOrganization is a body for POST Organization as SFM wants it: the organization number, perhaps a HER-id, the
// tenant's journal-id, and not active yet.
func SampleOrganization(t Tenant, orgnr, herID string) []byte {
	identifiers := []resource{{"system": systemENH, "value": orgnr}, {"system": "urn:example:sfm-id", "value": t.Journal}}
	if herID != "" {
		identifiers = append(identifiers, resource{"system": systemHERID, "value": herID})
	}
	return mustJSON(resource{
		"resourceType": "Organization", "name": "Syntetisk virksomhet " + orgnr, "active": false,
		"meta":       resource{"profile": []string{profileOrganization}},
		"identifier": identifiers,
		"telecom":    []resource{{"system": "phone", "value": "22000000"}},
		"address":    []resource{{"line": []string{"Storgata 1"}, "postalCode": "0001", "city": "Oslo"}},
	})
}

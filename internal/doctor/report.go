package doctor

import (
	"encoding/json"
	"fmt"
	"io"

	"sfm-sidecar/internal/helseid"
)

// Status is how a step ended.
type Status string

// The ways a step can end.
const (
	OK      Status = "ok"
	Warning Status = "warning" // works, but somebody should look at it
	Failed  Status = "failed"
	Skipped Status = "skipped" // not looked at; Means says why
)

// Finding is what a step found.
type Finding struct {
	Status Status `json:"status"`
	Found  string `json:"found"` // what came back
	Means  string `json:"means"`
	Do     string `json:"do"` // "" = nothing
	// Code is the code that the sidecar would refuse a call with (docs/refusals.md), HID HelseID's own number; "" = none.
	Code string `json:"code,omitempty"`
	HID  string `json:"hid,omitempty"`
	// Details are single values, a token's claims for instance. Their names are stable too.
	Details Details `json:"details,omitempty"`
}

// Step is one thing that was looked at.
type Step struct {
	Name    string `json:"name"`
	Subject string `json:"subject,omitempty"` // of several steps of a name: which tenant, which upstream
	Tried   string `json:"tried"`             // what was tried or, of a skipped step, would have been
	Finding
}

// Details are named values in the order they are to be read in. As JSON they are an object.
type Details []helseid.Fact

// MarshalJSON writes an object.
func (d Details) MarshalJSON() ([]byte, error) {
	object := make(map[string]string, len(d))
	for _, f := range d {
		object[f.Name] = f.Value
	}
	return json.Marshal(object)
}

// Sureness is how far an answer can be relied on.
type Sureness string

// The degrees of sureness.
const (
	Certain Sureness = "certain" // seen to work, or to be refused, all the way
	Likely  Sureness = "likely"  // seen in part; How says what was not
	Open    Sureness = "open"    // could not be answered; How says why
)

// Answer is what was learned about one open question.
type Answer struct {
	Question string   `json:"question"` // its stable name
	Asks     string   `json:"asks"`     // the question in words
	Answer   string   `json:"answer"`   // a stable word, or a value; "" when open
	Sure     Sureness `json:"sure"`
	How      string   `json:"how"` // what was seen
	Set      []string `json:"set"` // NAME=value lines for the configuration; none = leave it as it is
}

// Report is everything a check found.
type Report struct {
	Steps   []Step
	Answers []Answer // with Options.Learn
}

// Failed reports whether a step failed. Warnings and skipped steps do not count: what was skipped for a failure stands
// beside it.
func (r *Report) Failed() bool { return r.count(Failed) > 0 }

func (r *Report) count(s Status) int {
	n := 0
	for _, step := range r.Steps {
		if step.Status == s {
			n++
		}
	}
	return n
}

// WriteJSON writes the report for programs; the members are listed in docs/check.md.
func (r *Report) WriteJSON(w io.Writer) error {
	document := struct {
		Result  Status         `json:"result"`
		Counts  map[Status]int `json:"counts"`
		Steps   []Step         `json:"steps"`
		Answers []Answer       `json:"answers,omitempty"`
	}{Result: OK, Counts: map[Status]int{}, Steps: r.Steps}
	if r.Failed() {
		document.Result = Failed
	}
	for _, s := range []Status{OK, Warning, Failed, Skipped} {
		document.Counts[s] = r.count(s)
	}
	for _, a := range r.Answers {
		if a.Set == nil {
			a.Set = []string{}
		}
		document.Answers = append(document.Answers, a)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(document); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// good, careful, wrong and skipped build findings.
func good(found, means string) Finding { return Finding{Status: OK, Found: found, Means: means} }

func careful(found, means, do string) Finding {
	return Finding{Status: Warning, Found: found, Means: means, Do: do}
}

func wrong(found, means, do string) Finding {
	return Finding{Status: Failed, Found: found, Means: means, Do: do}
}

func skipped(why string) Finding { return Finding{Status: Skipped, Means: why} }

// Misconfigured is the report on a configuration that can't be used; each fault is one line.
func Misconfigured(faults []string) *Report {
	f := wrong("faults in the configuration", "the sidecar does not start with it", "mend the faults that are listed")
	for i, fault := range faults {
		f.Details = append(f.Details, helseid.Fact{Name: fmt.Sprintf("fault_%d", i+1), Value: fault})
	}
	return &Report{Steps: []Step{{Name: stepConfiguration, Tried: "reading the environment", Finding: f}}}
}

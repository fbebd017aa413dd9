package simulator

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// metadata is the CapabilityStatement, the one thing SFM tells everybody.
func metadata(c *sfmCall) sfmAnswer {
	interaction := func(kind string, codes ...string) resource {
		var list []resource
		for _, code := range codes {
			list = append(list, resource{"code": code})
		}
		return resource{"type": kind, "interaction": list}
	}
	operation := func(name string) resource {
		return resource{"name": name, "definition": c.seenURL("/OperationDefinition/" + name)}
	}
	return fhirAnswer(http.StatusOK, resource{
		"resourceType": "CapabilityStatement", "status": "active", "kind": "instance", "fhirVersion": "4.0.0",
		"date": "2026-01-01", "software": resource{"name": "SFM simulator", "version": "4.10"},
		"format": []string{"application/fhir+json", "application/json"},
		"rest": []resource{{
			"mode": "server",
			"resource": []resource{
				interaction("Organization", "create", "read", "update", "search-type"),
				interaction("Patient", "search-type"),
				interaction("Person", "create", "read", "update", "search-type"),
				interaction("Practitioner", "create", "read", "update", "search-type"),
				interaction("Task", "search-type"),
			},
			"operation": []resource{operation("getMedication"), operation("sendMedication")},
		}},
	})
}

// seenURL is an address as the real server writes it into its answers: with http, since TLS ends in front of it.
func (c *sfmCall) seenURL(path string) string { return "http://" + c.r.Host + path }

// parameters is what the two clinical operations take: FHIR Parameters, of which only what is needed is read.
type parameters struct {
	ResourceType string `json:"resourceType"`
	Parameter    []struct {
		Name     string          `json:"name"`
		Resource json.RawMessage `json:"resource"`
	} `json:"parameter"`
}

// parameter reads the resource of the named parameter into target.
func (c *sfmCall) parameter(name string, target any) *sfmRefusal {
	var p parameters
	if err := json.Unmarshal(c.body, &p); err != nil || p.ResourceType != "Parameters" {
		return invalid("the body is not a FHIR Parameters resource in JSON", "Parameters")
	}
	for _, entry := range p.Parameter {
		if entry.Name != name {
			continue
		}
		if err := json.Unmarshal(entry.Resource, target); err != nil {
			return invalid("the parameter "+name+" has no resource, or not the right one", "Parameters.Parameter")
		}
		return nil
	}
	return invalid("the parameter "+name+" is missing", "Parameters.Parameter")
}

func invalid(text, expression string) *sfmRefusal {
	return &sfmRefusal{status: http.StatusBadRequest, code: "invalid", issue: "invalid", text: text, expression: expression}
}

type identifier struct {
	System string `json:"system"`
	Value  string `json:"value"`
	Type   struct {
		Text string `json:"text"`
	} `json:"type"`
}

// getMedication answers with the patient's medicines: always the same for one patient, 20 to 200 kB of them.
func getMedication(c *sfmCall) sfmAnswer {
	var patient struct {
		ResourceType string       `json:"resourceType"`
		Identifier   []identifier `json:"identifier"`
		BirthDate    string       `json:"birthDate"`
		Gender       string       `json:"gender"`
	}
	if refusal := c.parameter("patient", &patient); refusal != nil {
		return refused(refusal)
	}
	who := patient.BirthDate + "/" + patient.Gender
	if len(patient.Identifier) > 0 {
		who = patient.Identifier[0].Value
	}
	if patient.ResourceType != "Patient" || strings.Trim(who, "/") == "" {
		return refused(invalid("the patient has neither an identifier nor a date of birth and gender", "Parameters.Parameter[0].Resource"))
	}
	key := clinicalKey{patient: who, size: c.knobs.AnswerBytes, source: c.seenURL(c.path)}
	body, packed := c.sim.sfm.clinical.of(key)
	return sfmAnswer{status: http.StatusOK, header: http.Header{"Content-Type": {fhirType}}, body: body, packed: packed, packable: true}
}

// sentEntry is one resource of the document that $sendMedication takes.
type sentEntry struct {
	Resource struct {
		ResourceType string `json:"resourceType"`
		Status       string `json:"status"`
		// Identifier is a list in most resources and an object in a Composition.
		Identifier json.RawMessage `json:"identifier"`
	} `json:"resource"`
}

// prescriptionID is the ReseptId of a MedicationStatement, "" for anything else.
func (e sentEntry) prescriptionID() string {
	var identifiers []identifier
	if e.Resource.ResourceType != "MedicationStatement" || json.Unmarshal(e.Resource.Identifier, &identifiers) != nil {
		return ""
	}
	for _, id := range identifiers {
		if id.Type.Text == "ReseptId" {
			return id.Value
		}
	}
	return ""
}

func (e sentEntry) recalls() bool {
	return e.Resource.Status == "stopped" || e.Resource.Status == "entered-in-error"
}

// sendMedication counts what a real SFM would sign and send: one prescription for each MedicationStatement with a
// ReseptId, one recall for each that is stopped.
func sendMedication(c *sfmCall) sfmAnswer {
	var document struct {
		ResourceType string      `json:"resourceType"`
		Type         string      `json:"type"`
		Entry        []sentEntry `json:"entry"`
	}
	if refusal := c.parameter("medication", &document); refusal != nil {
		return refused(refusal)
	}
	if document.ResourceType != "Bundle" || document.Type != "document" {
		return refused(invalid("the parameter medication must be a Bundle of type document", "Parameters.Parameter[0].Resource"))
	}
	prescriptions, recalls := 0, 0
	results := []resource{}
	for _, entry := range document.Entry {
		id := entry.prescriptionID()
		switch {
		case id == "":
			continue
		case entry.recalls():
			recalls++
		default:
			prescriptions++
		}
		results = append(results, operationResult(id))
	}
	return fhirAnswer(http.StatusOK, resource{"resourceType": "Parameters", "parameter": append([]resource{
		{"name": "recallCount", "valueInteger": recalls},
		{"name": "prescriptionCount", "valueInteger": prescriptions},
		{"name": "PllResult", "part": []resource{{"name": "resultCode", "valueCoding": codeOK()}}},
	}, results...)})
}

func operationResult(prescriptionID string) resource {
	return resource{"name": "prescriptionOperationResult", "part": []resource{
		{"name": "reseptID", "valueString": prescriptionID},
		{"name": "resultCode", "valueCoding": codeOK()},
	}}
}

func codeOK() resource {
	return resource{"system": "http://ehelse.no/fhir/CodeSystem/sfm-kj-rf-error-code", "code": "0", "display": "OK"}
}

// searchTask answers with one changed task, so that a poller has something to read. The tasks are those of the
// journal; a query string with national identity numbers is neither read nor kept.
func searchTask(c *sfmCall) sfmAnswer {
	seed := newSeeded("task/" + c.caller.tenant.Journal)
	return c.bundle("Task", resource{
		"resourceType": "Task", "id": seed.uuid(), "status": "completed", "intent": "order",
		"meta": resource{"lastUpdated": "2026-01-05T08:00:00+01:00"},
		"code": resource{"coding": []resource{{"system": "http://ehelse.no/fhir/CodeSystem/sfm-task-type", "code": "8"}}},
	})
}

func searchPatient(c *sfmCall) sfmAnswer {
	return c.bundle("Patient", newSeeded("patient/"+c.caller.tenant.Journal).patient(""))
}

// bundle is a search's answer. Its links are written as the real server writes them: absolute, with http, and past any
// proxy in front.
func (c *sfmCall) bundle(kind string, found ...resource) sfmAnswer {
	entries := []resource{}
	for _, r := range found {
		id, _ := r["id"].(string)
		entries = append(entries, resource{"fullUrl": c.seenURL("/" + kind + "/" + id), "resource": r, "search": resource{"mode": "match"}})
	}
	links := []resource{{"relation": "self", "url": c.seenURL(c.path)}}
	page, _ := strconv.Atoi(c.r.URL.Query().Get("page")) // of our own next link; all else in a query is left unread
	if page = max(page, 1); page < c.knobs.SearchPages {
		links = append(links, resource{"relation": "next", "url": c.seenURL(c.path) + "?page=" + strconv.Itoa(page+1)})
	}
	return fhirAnswer(http.StatusOK, resource{
		"resourceType": "Bundle", "type": "searchset", "total": len(entries) * max(c.knobs.SearchPages, 1), "entry": entries, "link": links,
	})
}

package simulator

import (
	"bytes"
	"encoding/json"
	"strconv"
	"testing"
)

func TestMedicationAnswers(t *testing.T) {
	least, most := 1<<30, 0
	for i := range 200 {
		key := clinicalKey{patient: strconv.Itoa(i), source: "http://sfm.example" + getPath}
		body := medicationAnswer(key)
		least, most = min(least, len(body)), max(most, len(body))
		if i > 3 {
			continue
		}
		if !bytes.Equal(body, medicationAnswer(key)) {
			t.Error("one patient, two answers")
		}
		if !json.Valid(body) || bytes.Count(body, []byte(`"MedicationStatement"`)) < 2 || !bytes.Contains(body, []byte(key.source)) {
			t.Errorf("patient %d: not a medication answer", i)
		}
	}
	if least < 20_000 || least > 40_000 || most > 200_000 || most < 150_000 {
		t.Errorf("answers of %d to %d bytes, want 20 to 200 kB", least, most)
	}
}

func TestAnswersAreKeptWithinBounds(t *testing.T) {
	a := newClinicalAnswers()
	for i := range clinicalCap + 2 {
		a.of(clinicalKey{patient: strconv.Itoa(i), size: 1})
	}
	if len(a.ready) > clinicalCap {
		t.Errorf("%d answers kept", len(a.ready))
	}
}

func TestSamples(t *testing.T) {
	send := SampleSendMedication("13827015061", "a")
	if n := len(send); n < 20_000 || n > 32_000 || !json.Valid(send) {
		t.Errorf("a sample of %d bytes", n)
	}
	if bytes.Equal(send, SampleSendMedication("13827015061", "b")) || !bytes.Equal(send, SampleSendMedication("13827015061", "a")) {
		t.Error("the sample does not follow its seed")
	}
	if get := SampleGetMedication("13827015061"); len(get) > 1500 || !bytes.Contains(get, []byte(`"13827015061"`)) {
		t.Errorf("a sample of %d bytes", len(get))
	}
}

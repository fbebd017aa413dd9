package register

import "testing"

// Whatever a register says, it is refused or read; what is read has the form that callers count on.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte(`{"organisasjonsnummer":"100100126","navn":"EKSEMPEL AS","overordnetEnhet":"999944582","slettedato":"2024-06-30"}`))
	f.Add([]byte(`[{"herId":1,"name":"x","type":"Organization","organizationNumber":"100100126","active":true,"validTo":null}]`))
	f.Add([]byte(`{"items":[{"HerId":"2","parent":{"herId":1}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if unit, ok := readUnit(body); ok && (!isNumber(unit.Orgnr, 9) || unit.Parent != "" && !isNumber(unit.Parent, 9)) {
			t.Errorf("read %+v", unit)
		}
		list, ok := readParties(body)
		for _, party := range list {
			if !ok || !isHERID(party.HERID) || party.Orgnr != "" && !isNumber(party.Orgnr, 9) || party.Parent != "" && !isHERID(party.Parent) {
				t.Errorf("read %+v", party)
			}
		}
	})
}

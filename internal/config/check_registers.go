package config

// selvbetjening is the API of HelseID Selvbetjening by issuer.
var selvbetjening = map[string]string{
	"https://helseid-sts.test.nhn.no": "https://api.selvbetjening.test.nhn.no",
	"https://helseid-sts.nhn.no":      "https://api.selvbetjening.nhn.no",
}

// checkRegisters checks the addresses of what the commands ask beside HelseID and SFM. Tokens go to two of them, so the
// rules are those of an upstream.
func checkRegisters(t *Tenants, found *findings) {
	for _, register := range []struct{ variable, address string }{
		{"BRREG_URL", t.BrregURL}, {"ADRESSEREGISTERET_URL", t.AdresseregisteretURL}, {"SELVBETJENING_URL", t.SelvbetjeningURL},
	} {
		if register.address != "" {
			if _, err := parseUpstreamURL(register.address); err != nil {
				faultValue(register.variable, err, found)
			}
		}
	}
}

package config

import "slices"

// LoadPart is [Load] for a command that needs a few variables alone, and must work where the others are missing or wrong.
// Only faults of the named variables, and of the file of variables, are an error. What other variables say may be
// missing or unchecked in the Config.
func LoadPart(environ []string, variables ...string) (*Config, error) {
	var found findings
	c := load(environ, &found)
	var faults Faults
	for _, fault := range found.faults {
		if fault.Variable == "SIDECAR_ENV_FILE" || slices.Contains(variables, fault.Variable) {
			faults = append(faults, fault)
		}
	}
	if len(faults) > 0 {
		return nil, faults
	}
	return c, nil
}

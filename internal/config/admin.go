package config

import "slices"

// AdminAddress returns where the admin listener of a sidecar with this environment
// answers, without looking at anything else of it: a probe must not fail because a
// secret can't be read. The error is [Faults].
func AdminAddress(environ []string) (string, error) {
	const variable = "SIDECAR_ADMIN_LISTEN"
	var found findings
	address, set := gather(environ, &found)[variable]
	if !set {
		all := variables()
		address = all[slices.IndexFunc(all, func(v Variable) bool { return v.Name == variable })].Default
	}
	checkAddress(variable, address, &found)
	if len(found.faults) > 0 {
		return "", found.faults
	}
	return address, nil
}

// CallerKey returns the key that a sidecar with this environment asks its callers
// for, empty where it asks for none. The error is [Faults]: the file that should
// hold the key can't be read, say.
func CallerKey(environ []string) (Secret, error) {
	const variable = "SIDECAR_CALLER_KEY"
	var all, found findings
	vars := gather(environ, &all)
	readTwins(vars, &all)
	for _, fault := range all.faults {
		if fault.Variable == variable || fault.Variable == variable+twinSuffix {
			found.faults = append(found.faults, fault)
		}
	}
	if len(found.faults) > 0 {
		return Secret{}, found.faults
	}
	return NewSecret(vars[variable]), nil
}

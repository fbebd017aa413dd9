package config

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

// ourPrefixes are those that only this program's variables begin with. LOG_ is
// not among them: too many programs share it.
var ourPrefixes = []string{"HELSEID_", "SFM_", "SIDECAR_", "TENANTS_", "BRREG_", "ADRESSEREGISTERET_", "SELVBETJENING_"}

// kubernetesName matches the variables that Kubernetes puts into every pod for
// each service of the namespace: for one named "sidecar" or "sfm-basis" they begin
// as ours do.
var kubernetesName = regexp.MustCompile(`_SERVICE_(HOST|PORT(_[A-Z0-9_]+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?$`)

// kubernetesAddress matches the value of the one service variable whose name alone
// (SIDECAR_PORT) does not give it away.
var kubernetesAddress = regexp.MustCompile(`^(tcp|udp|sctp)://`)

// warnUnknown warns of variables that look like ours but are not known: most
// likely misspelt, so that what the operator meant does not happen.
func warnUnknown(vars map[string]string, found *findings) {
	known := knownNames()
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		if known[name] || isKubernetes(name, vars[name]) {
			continue
		}
		like, distance := nearest(name, known)
		switch {
		case hasOurPrefix(name) && distance <= max(3, len(name)/4):
			found.warn(name, "is not a known variable", "did you mean "+like+"?")
		case hasOurPrefix(name):
			found.warn(name, "is not a known variable", "unset it, or see the list that the command \"sidecar env\" prints")
		case strings.HasPrefix(name, "LOG_") && distance <= 2:
			found.warn(name, "is not a known variable", "did you mean "+like+"?")
		}
	}
}

// knownNames returns every variable of the configuration and the twins of the
// secret ones.
func knownNames() map[string]bool {
	known := make(map[string]bool)
	for _, variable := range variables() {
		known[variable.Name] = true
		if variable.Secret {
			known[variable.Name+twinSuffix] = true
		}
	}
	return known
}

func hasOurPrefix(name string) bool {
	return slices.ContainsFunc(ourPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

func isKubernetes(name, value string) bool {
	if kubernetesName.MatchString(name) {
		return true
	}
	return strings.HasSuffix(name, "_PORT") && kubernetesAddress.MatchString(value)
}

// nearest returns the known name with the fewest edits from name, the first in
// alphabetical order among equals.
func nearest(name string, known map[string]bool) (best string, distance int) {
	distance = len(name) + 1
	for _, candidate := range slices.Sorted(maps.Keys(known)) {
		if d := edits(name, candidate); d < distance {
			best, distance = candidate, d
		}
	}
	return best, distance
}

// edits is the Levenshtein distance: how many letters must be put in, taken out
// or exchanged to make one of the other.
func edits(a, b string) int {
	row := make([]int, len(b)+1) // distances from the part of a read so far to each beginning of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			exchange := diagonal
			if a[i] != b[j] {
				exchange++
			}
			diagonal = row[j+1]
			row[j+1] = min(exchange, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

package config

import (
	"strings"
)

// notYet lists what this version of the sidecar knows of but does not do. A
// variable that asks for such a thing is refused rather than ignored: the
// operator would believe it done. When a thing comes to be done, its row goes.
var notYet = []struct {
	variable string
	asks     func(value string) bool
	problem  string // what is asked for
	mend     string
}{
	{"SIDECAR_ALLOWED_SIDS", anything, "telling callers apart by SID", unsetIt},
	{"SIDECAR_AUDIT_FILE", anything, "an audit stream", unsetIt},
}

const unsetIt = "unset it"

// refuseNotYet reports each variable that asks for something in notYet, without
// its value.
func refuseNotYet(vars map[string]string, found *findings) {
	for _, row := range notYet {
		value, set := vars[row.variable]
		if set && row.asks(strings.TrimSpace(value)) {
			found.fault(row.variable, row.problem+" is not yet supported by this version", row.mend)
		}
	}
}

func anything(string) bool { return true }

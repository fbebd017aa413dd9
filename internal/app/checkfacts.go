package app

import (
	"fmt"
	"net"
	"os"
	"strings"

	"sfm-sidecar/internal/doctor"
	"sfm-sidecar/internal/helseid"
)

// named reads the tenants of a command line: PARENT[:CHILD]@JOURNAL, or an alias.
func (h *house) named(names []string) ([]doctor.Tenant, error) {
	var all []doctor.Tenant
	for _, name := range names {
		numbers, journal, ok := strings.Cut(name, "@")
		if !ok {
			t, err := h.tenants.Alias(name)
			if err != nil {
				return nil, fmt.Errorf("the tenant %q is neither an alias of the registry (TENANTS_FILE) nor written PARENT[:CHILD]@JOURNAL", name)
			}
			all = append(all, doctor.Tenant{Label: name, Tenant: helseid.Tenant(t)})
			continue
		}
		parent, child, _ := strings.Cut(numbers, ":")
		t, listed, err := h.tenants.Read(parent, child, journal)
		if err != nil {
			return nil, fmt.Errorf("the tenant is not PARENT[:CHILD]@JOURNAL: %w", err)
		}
		all = append(all, doctor.Tenant{Label: name, Tenant: helseid.Tenant(t), Unlisted: !listed})
	}
	return all, nil
}

// keyFacts is what may be told of the client's key.
func (h *house) keyFacts() doctor.Key {
	key := h.keys.Current()
	facts := doctor.Key{
		Algorithm: key.Algorithm(), Strength: key.Strength(), ID: key.KeyID(), Thumbprint: key.Thumbprint(),
		NotAfter: key.NotAfter(), File: h.cfg.HelseID.ClientJWKFile,
	}
	if facts.File == "" {
		return facts
	}
	info, err := os.Stat(facts.File)
	if err != nil {
		return facts // it was read a moment ago
	}
	if owner, known := ownerOf(info); known {
		facts.Mode = fmt.Sprintf("%04o", info.Mode().Perm())
		facts.Exposed = exposed(info.Mode().Perm(), owner, os.Geteuid())
	}
	return facts
}

// exposed says what is wrong with who may read a key's file, "" if nothing. A
// file that belongs to root and that a group may read is how Kubernetes gives a
// secret to a program that is not root.
func exposed(mode os.FileMode, owner, we int) string {
	switch {
	case mode&0o037 != 0, mode&0o040 != 0 && owner == we:
		return "others than its owner may read or change its file"
	case owner != we && owner != 0:
		return "its file belongs to another user, who can change it"
	}
	return ""
}

// portOf is the port of host:port, or "".
func portOf(address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	return port
}

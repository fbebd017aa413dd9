package tenantmap

import (
	"strings"

	"sfm-sidecar/internal/journal"
)

// journalID judges a journal id and takes its braces off. The UUID of zeros is what an unset variable looks like in many
// languages; SFM might take it for a journal that is to be made.
func journalID(name, value string) (string, error) {
	id := value
	if len(id) == len("{}")+uuidLength && id[0] == '{' && id[len(id)-1] == '}' {
		id = id[1 : len(id)-1]
	}
	switch {
	case !journal.IsUUID(id):
		return "", invalid(name, "is not a UUID", "Send 8-4-4-4-12 hexadecimal digits with hyphens.")
	case strings.Trim(id, "0-") == "":
		return "", invalid(name, "is the UUID of zeros, which is no journal's", "Send the id of the customer's journal.")
	}
	return id, nil
}

// uuidLength is the length of a UUID with its hyphens.
const uuidLength = 36

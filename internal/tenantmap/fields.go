package tenantmap

import "strings"

// isOrgnr reports whether s is nine digits.
func isOrgnr(s string) bool {
	if len(s) != 9 {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// checkDigitFits checks the ninth digit of an organization number: eight weights, modulus 11. Where the remainder wants
// the digit 10, the number was never given out.
func checkDigitFits(number string) bool {
	sum := 0
	for i, weight := range [8]int{3, 2, 7, 6, 5, 4, 3, 2} {
		sum += weight * int(number[i]-'0')
	}
	return (11-sum%11)%11 == int(number[8]-'0')
}

// journalID judges a journal id and takes its braces off. The UUID of zeros is what an unset variable looks like in many
// languages; SFM might take it for a journal that is to be made.
func journalID(name, value string) (string, error) {
	id := value
	if len(id) == len("{}")+uuidLength && id[0] == '{' && id[len(id)-1] == '}' {
		id = id[1 : len(id)-1]
	}
	switch {
	case !isUUID(id):
		return "", invalid(name, "is not a UUID", "Send 8-4-4-4-12 hexadecimal digits with hyphens.")
	case strings.Trim(id, "0-") == "":
		return "", invalid(name, "is the UUID of zeros, which is no journal's", "Send the id of the customer's journal.")
	}
	return id, nil
}

// uuidLength is the length of a UUID with its hyphens.
const uuidLength = 36

// isUUID reports whether s has the form of RFC 9562 section 4, in any letter case.
func isUUID(s string) bool {
	if len(s) != uuidLength {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case '0' <= c && c <= '9', 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
		default:
			return false
		}
	}
	return true
}

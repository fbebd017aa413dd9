package journal

import "strings"

// IsOrgnr reports whether s has the form of an organization number: nine digits. [CheckDigitFits] says more.
func IsOrgnr(s string) bool { return len(s) == 9 && digits(s) }

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// CheckDigitFits reports whether s is an organization number whose ninth digit fits the other eight: the weights of
// Enhetsregisteret, modulus 11. Where the remainder wants the digit 10, the number was never given out.
func CheckDigitFits(s string) bool {
	if !IsOrgnr(s) {
		return false
	}
	sum := 0
	for i, weight := range [8]int{3, 2, 7, 6, 5, 4, 3, 2} {
		sum += weight * int(s[i]-'0')
	}
	return (11-sum%11)%11 == int(s[8]-'0')
}

// IsUUID reports whether s has the form of RFC 9562 section 4, with hyphens, in any letter case.
func IsUUID(s string) bool {
	if len(s) != 36 {
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

// filled reports whether a field has a value; blanks are none.
func filled(s string) bool { return strings.TrimSpace(s) != "" }

// plainHERID is the form in which HER-ids are compared: " 090001" is 90001 to a register that keeps numbers.
func plainHERID(s string) string {
	s = strings.TrimSpace(s)
	if plain := strings.TrimLeft(s, "0"); digits(plain) {
		return plain
	}
	return s
}

// isHERID reports whether s has the form of a HER-id: Adresseregisteret numbers from 1 and has not needed ten digits.
func isHERID(s string) bool { return digits(s) && len(s) <= 10 && s[0] != '0' }

package register

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What NHN has published of this API leaves the members' exact names open, and an older version wrote some of them
// otherwise ("HerId"). So names are read in any letter case, and by those they are known or likely to have. The first
// that is there counts.
var (
	namesHERID  = []string{"herid"}
	namesName   = []string{"name", "displayname"}
	namesKind   = []string{"type", "communicationpartytype", "$type"}
	namesOrgnr  = []string{"organizationnumber", "organisationnumber", "orgnr"}
	namesParent = []string{"parentherid", "parent"}
	namesActive = []string{"active", "isactive"}
	namesUntil  = []string{"validto", "deactivated"}
	namesList   = []string{"items", "communicationparties", "parties", "data"}
)

// readParties reads an array of parties, or an object that holds one. One party that can't be read makes the whole
// answer one that can't be understood: a HER-id must not look unknown because we read badly.
func readParties(body []byte) ([]Party, bool) {
	var list []json.RawMessage
	if json.Unmarshal(body, &list) != nil || list == nil {
		envelope, ok := readMembers(body)
		if !ok || json.Unmarshal(envelope.first(namesList), &list) != nil {
			return nil, false
		}
	}
	parties := make([]Party, 0, len(list))
	for _, raw := range list {
		party, ok := readParty(raw, time.Now())
		if !ok {
			return nil, false
		}
		parties = append(parties, party)
	}
	return parties, true
}

func readParty(raw json.RawMessage, now time.Time) (Party, bool) {
	m, ok := readMembers(raw)
	if !ok {
		return Party{}, false
	}
	party := Party{
		HERID: m.number(namesHERID), Name: m.text(namesName), Orgnr: m.text(namesOrgnr), Parent: m.number(namesParent),
		Kind: kindOf(m.text(namesKind)), Active: true,
	}
	if parent, ok := readMembers(m.first(namesParent)); ok {
		party.Parent = parent.number(namesHERID)
	}
	if value := m.first(namesActive); value != nil && json.Unmarshal(value, &party.Active) != nil {
		return Party{}, false
	}
	if until, ok := moment(m.text(namesUntil)); ok && !now.Before(until) {
		party.Active = false
	}
	if party.Orgnr != "" && !isNumber(party.Orgnr, 9) {
		return Party{}, false
	}
	return party, isHERID(party.HERID)
}

// kindOf finds one of the kinds in what the register calls it, a class name such as OrganizationCommunicationParty
// among them.
func kindOf(text string) Kind {
	for _, kind := range []Kind{KindService, KindPerson, KindOrganization} { // OrganizationPerson is a person
		if strings.Contains(strings.ToLower(text), strings.ToLower(string(kind))) {
			return kind
		}
	}
	return ""
}

// moment reads a day, which ends at its end, or a point in time.
func moment(text string) (time.Time, bool) {
	if day, err := time.Parse(time.DateOnly, text); err == nil {
		return day.AddDate(0, 0, 1), true
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

// members are those of a JSON object, by their names in lower case.
type members map[string]json.RawMessage

func readMembers(raw []byte) (members, bool) {
	var read map[string]json.RawMessage
	if json.Unmarshal(raw, &read) != nil || read == nil {
		return nil, false
	}
	m := make(members, len(read))
	for _, name := range slices.Sorted(maps.Keys(read)) { // in order, so that what comes twice does not depend on chance
		m[strings.ToLower(name)] = read[name]
	}
	return m, true
}

// first is the first member that is there and not null, or nil.
func (m members) first(names []string) json.RawMessage {
	for _, name := range names {
		if value, ok := m[name]; ok && string(value) != "null" {
			return value
		}
	}
	return nil
}

// text is the first such member that is a string.
func (m members) text(names []string) string {
	var s string
	if json.Unmarshal(m.first(names), &s) != nil {
		return ""
	}
	return strings.ToValidUTF8(strings.TrimSpace(s), "\uFFFD")
}

// number is the first such member that is a whole number above 0, or a string of one; else "".
func (m members) number(names []string) string {
	value := string(m.first(names))
	if s := m.text(names); s != "" {
		value = s
	}
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || n <= 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

package simulator

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// The two collections of Enhetsregisteret: top-level units with the
// "organisasjonsledd" between, and the sub-units at the bottom.
const (
	brregUnits    = "enheter"
	brregSubUnits = "underenheter"
)

// maxBrregReach is how far into a list Enhetsregisteret lets one page.
const maxBrregReach = 10_000

// brreg is the stand-in for Enhetsregisteret's open API
// (https://data.brreg.no/enhetsregisteret/api): two look-ups and the list of what
// hangs directly on a unit. It asks for no key.
func (c *registerCall) brreg() {
	collection, orgnr, single := strings.Cut(strings.TrimPrefix(c.path, "/"), "/")
	switch {
	case c.r.Method != http.MethodGet:
		c.answer.header.Set("Allow", http.MethodGet)
		c.brregError(http.StatusMethodNotAllowed, "Request method '"+c.r.Method+"' is not supported")
	case collection != brregUnits && collection != brregSubUnits:
		c.brregError(http.StatusNotFound, "the simulator has no "+c.path)
	case !single:
		c.listUnits(collection)
	case !nineDigits.MatchString(orgnr):
		c.brregError(http.StatusBadRequest, "organisasjonsnummer must be nine digits")
	default:
		c.lookUpUnit(collection, orgnr)
	}
}

func (c *registerCall) brregError(status int, message string) {
	c.write(status, "application/json", map[string]any{
		"timestamp": c.sim.now().UTC().Format("2006-01-02T15:04:05.000Z"), "status": status,
		"error": http.StatusText(status), "message": message, "path": c.r.URL.EscapedPath(),
	})
}

func (c *registerCall) lookUpUnit(collection, orgnr string) {
	c.record.Items = 1
	unit, known := c.sim.registers.units[orgnr]
	switch {
	case !known || unit.SubUnit != (collection == brregSubUnits):
		c.answer.WriteHeader(http.StatusNotFound) // without a body, as the real one
	case unit.Removed || (unit.Deleted != "" && c.sim.knobs().Brreg.StruckOffGone):
		gone := map[string]any{"respons_klasse": "FjernetEnhet", "organisasjonsnummer": unit.Orgnr}
		if unit.Deleted != "" {
			gone["slettedato"] = unit.Deleted
		}
		c.write(http.StatusGone, "application/json", gone)
	default:
		c.writeJSON(c.unitJSON(unit))
	}
}

// unitForms are the names of the organization forms that occur here.
var unitForms = map[string]string{
	"KOMM": "Kommune", "ORGL": "Organisasjonsledd", "AS": "Aksjeselskap",
	"BEDR": "Underenhet til næringsdrivende og offentlig forvaltning",
}

func (c *registerCall) unitJSON(unit Unit) map[string]any {
	class, collection := "Enhet", brregUnits
	if unit.SubUnit {
		class, collection = "Underenhet", brregSubUnits
	}
	answer := map[string]any{
		"respons_klasse": class, "organisasjonsnummer": unit.Orgnr, "navn": unit.Name,
		"organisasjonsform": map[string]any{"kode": unit.Form, "beskrivelse": unitForms[unit.Form]},
		"_links":            map[string]any{"self": map[string]any{"href": c.base + "/" + collection + "/" + unit.Orgnr}},
	}
	if unit.Parent != "" {
		answer["overordnetEnhet"] = unit.Parent
	}
	if unit.Deleted != "" {
		answer["respons_klasse"], answer["slettedato"] = "SlettetEnhet", unit.Deleted
	}
	return answer
}

// listUnits answers with one page of what hangs directly on overordnetEnhet. Units
// that are struck off or removed are in no list.
func (c *registerCall) listUnits(collection string) {
	query := c.r.URL.Query()
	size, page, fault := paging(query)
	parent := query.Get("overordnetEnhet")
	if fault == "" && !nineDigits.MatchString(parent) {
		fault = "overordnetEnhet must be nine digits; the simulator lists nothing else"
	}
	if fault != "" {
		c.brregError(http.StatusBadRequest, fault)
		return
	}
	var found []any
	for _, unit := range c.sim.registers.order {
		if unit.Parent == parent && unit.SubUnit == (collection == brregSubUnits) && unit.Deleted == "" && !unit.Removed {
			found = append(found, c.unitJSON(unit))
		}
	}
	total := len(found)
	found = found[min(page*size, total):min((page+1)*size, total)]
	pages := (total + size - 1) / size
	answer := map[string]any{
		"_links": c.pageLinks(collection, page, size, pages),
		"page":   map[string]any{"size": size, "totalElements": total, "totalPages": pages, "number": page},
	}
	if len(found) > 0 {
		answer["_embedded"] = map[string]any{collection: found}
	}
	c.writeJSON(answer)
}

func (c *registerCall) pageLinks(collection string, page, size, pages int) map[string]any {
	links := map[string]any{}
	link := func(name string, number int) {
		query := url.Values{
			"overordnetEnhet": {c.r.URL.Query().Get("overordnetEnhet")},
			"size":            {strconv.Itoa(size)}, "page": {strconv.Itoa(number)},
		}
		links[name] = map[string]any{"href": c.base + "/" + collection + "?" + query.Encode()}
	}
	link("self", page)
	if page+1 < pages {
		link("next", page+1)
	}
	if page > 0 {
		link("prev", page-1)
	}
	return links
}

// paging reads size and page, with the real one's defaults and reach.
func paging(query url.Values) (size, page int, fault string) {
	numbers := map[string]int{"size": 20, "page": 0}
	for name := range query {
		if _, isNumber := numbers[name]; !isNumber {
			if name != "overordnetEnhet" {
				return 0, 0, fmt.Sprintf("the simulator knows no parameter %q", name)
			}
			continue
		}
		number, err := strconv.Atoi(query.Get(name))
		if err != nil || number < 0 || number > maxBrregReach {
			return 0, 0, name + " is not a whole number from 0 to 10000"
		}
		numbers[name] = number
	}
	size, page = numbers["size"], numbers["page"]
	if size == 0 || size*(page+1) > maxBrregReach {
		return 0, 0, "size must be at least 1, and size * (page + 1) at most 10000"
	}
	return size, page, ""
}

package desk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sfm-sidecar/internal/tenantmap"
)

const (
	maxReply     = 4 << 20 // bytes of SFM's answer
	replyTimeout = 90 * time.Second
	// The identifier system of organization numbers (reference: FHIR profile sfm-Organization).
	systemENH = "urn:oid:2.16.578.1.12.4.1.4.101"
)

// reply is what GET …/Organization through a running sidecar came to.
type reply struct {
	status  int
	refusal string          // the sidecar's own, for people; "" = SFM answered
	active  map[string]bool // the journal's organizations by number, and whether each is active
	more    bool            // SFM has further pages, which are not read
	err     error           // nobody could be asked
}

// missingJournal reports the answers that SFM gives for a journal-id that it does not know.
func (r reply) missingJournal() bool {
	return r.status == http.StatusUnauthorized || r.status == http.StatusForbidden || r.status == http.StatusNotFound
}

// without is the outcome of a check that misses an organization: not known where SFM did not tell of all.
func (r reply) without(found outcome) outcome {
	if r.more {
		return unchecked("SFM's answer goes on on further pages, which are not read here: look there for what is missing")
	}
	return found
}

// organizations asks SFM what the journal holds, with the token of one tenant. It changes nothing at SFM.
func (g *guide) organizations(ctx context.Context, t tenantmap.Tenant) reply {
	if g.asked[t] == nil {
		r := g.ask(ctx, t)
		g.asked[t] = &r
	}
	return *g.asked[t]
}

func (g *guide) ask(ctx context.Context, t tenantmap.Tenant) reply {
	switch {
	case g.sidecar == "" || g.session == "":
		return reply{err: errors.New("name a running sidecar and a person's session: --sidecar URL --session @FILE")}
	case g.Do == nil:
		return reply{err: errors.New("this program can't ask a sidecar")}
	case t.Journal == "":
		return reply{err: errors.New("the journal-id is not known yet")}
	}
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	address, err := url.Parse(g.sidecar)
	if err != nil || address.Scheme != "http" && address.Scheme != "https" || address.Host == "" {
		return reply{err: errors.New("--sidecar is no address such as http://127.0.0.1:8080")}
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address.JoinPath(g.upstream, "Organization").String(), nil)
	if err != nil {
		return reply{err: errors.New("--sidecar is no address such as http://127.0.0.1:8080")}
	}
	r.Header.Set("Accept", "application/fhir+json")
	r.Header.Set(tenantmap.ParentHeader, t.Parent)
	r.Header.Set(tenantmap.JournalHeader, t.Journal)
	if t.Child != "" {
		r.Header.Set(tenantmap.ChildHeader, t.Child)
	}
	r.Header.Set("Sfm-Session", g.session)
	resp, err := g.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return reply{err: fmt.Errorf("the sidecar can't be reached: %w", err)}
	}
	defer resp.Body.Close()
	return readReply(resp)
}

// readReply reads SFM's Bundle, or the sidecar's problem document.
func readReply(resp *http.Response) reply {
	out := reply{status: resp.StatusCode, active: map[string]bool{}}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil || len(body) > maxReply {
		return reply{err: errors.New("SFM's answer broke off, or is too large")}
	}
	if code := resp.Header.Get("Sidecar-Error"); code != "" {
		var problem struct{ Detail, Hint string }
		_ = json.Unmarshal(body, &problem) // without it the code alone is told
		out.refusal = strings.Join(nonEmpty(code, problem.Detail, problem.Hint), ": ")
		return out
	}
	if resp.StatusCode == http.StatusOK && !out.read(body) {
		return reply{err: errors.New("SFM's answer is no Bundle of organizations")}
	}
	return out
}

func nonEmpty(all ...string) []string {
	var out []string
	for _, s := range all {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// organizationJSON is what is read of an sfm-Organization.
type organizationJSON struct {
	ResourceType string `json:"resourceType"`
	Active       bool   `json:"active"`
	Identifier   []struct{ System, Value string }
}

// read takes the organizations out of a Bundle, or the only one.
func (r *reply) read(body []byte) bool {
	var bundle struct {
		organizationJSON
		Entry []struct{ Resource organizationJSON }
		Link  []struct{ Relation string }
	}
	if json.Unmarshal(body, &bundle) != nil || bundle.ResourceType != "Bundle" && bundle.ResourceType != "Organization" {
		return false
	}
	for _, l := range bundle.Link {
		r.more = r.more || l.Relation == "next"
	}
	all := []organizationJSON{bundle.organizationJSON}
	for _, e := range bundle.Entry {
		all = append(all, e.Resource)
	}
	for _, o := range all {
		for _, id := range o.Identifier {
			if o.ResourceType == "Organization" && id.System == systemENH {
				r.active[id.Value] = o.Active
			}
		}
	}
	return true
}

package control

import "time"

// Status is what there is to tell of a running sidecar, to whoever runs it or sits
// at the desk where it fails. It is the content of the status page and, as JSON, of
// the support bundle. No member has room for a token, a key, a person or a session
// handle: what must not be shown can't be put in.
type Status struct {
	Now      time.Time `json:"now"`
	Started  time.Time `json:"started"`
	Version  string    `json:"version"`
	Stopping bool      `json:"stopping"` // told to end

	HelseID   HelseID    `json:"helseid"`
	Upstreams []Upstream `json:"upstreams"`
	Clock     Clock      `json:"clock"`
	ClientKey ClientKey  `json:"client_key"`
	Sessions  LogIns     `json:"sessions"`
	Store     *Store     `json:"store,omitempty"` // nil: sessions are not shared
	Registry  Registry   `json:"registry"`

	// Tenants are those with trouble first, then those with tokens, then others of
	// the registry. MoreTenants are not listed.
	Tenants     []Tenant `json:"tenants"`
	MoreTenants int      `json:"more_tenants"`
	// Tokens is how many are held, of all tenants.
	Tokens int `json:"tokens"`
	// Refusals are the last ones, newest first.
	Refusals []Refusal `json:"refusals"`
}

// HelseID is how it stands with HelseID.
type HelseID struct {
	Host string `json:"host"`
	// Answered is when it last answered anything, Failed when it last did not; zero:
	// never. Down is when it ceased to answer, zero while it answers.
	Answered time.Time `json:"answered,omitzero"`
	Failed   time.Time `json:"failed,omitzero"`
	Down     time.Time `json:"down,omitzero"`
	// Refused is the code by which it refused the client itself, if it did; nothing
	// is asked until RefusedUntil.
	Refused      string    `json:"refused,omitempty"`
	RefusedUntil time.Time `json:"refused_until,omitzero"`
}

// Upstream is how it stands with one of SFM's services.
type Upstream struct {
	Name string `json:"name"` // empty: the only one, mounted at /
	Host string `json:"host"`
	// At is when the last call ended, zero when there was none: with SFM's Status,
	// or for want of an answer with the refusal's Code.
	At     time.Time `json:"at,omitzero"`
	Status int       `json:"status,omitempty"`
	Code   string    `json:"code,omitempty"`
}

// Clock compares this machine's clock with HelseID's.
type Clock struct {
	Measured bool `json:"measured"`
	// Ahead is how far HelseID's clock is ahead, Corrected what of that is made up for.
	Ahead     time.Duration `json:"ahead_ns"`
	Corrected time.Duration `json:"corrected_ns"`
}

// ClientKey is the public side of the key in use.
type ClientKey struct {
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	// Since is when this process took it up; FileChanged when its file was last
	// written, zero where it is in none; NotAfter when its registration ends, zero
	// where that is not known.
	Since       time.Time `json:"since"`
	FileChanged time.Time `json:"file_changed,omitzero"`
	NotAfter    time.Time `json:"not_after,omitzero"`
}

// LogIns counts log-ins, and says nothing of whose they are.
type LogIns struct {
	Count int `json:"count"`
	// NearestEnd is when the first of them runs out, zero where none is known to.
	NearestEnd time.Time `json:"nearest_end,omitzero"`
	SFMOpen    int       `json:"sfm_open"`
	SFMLost    int       `json:"sfm_lost"`
}

// Store is how it stands with the store that replicas share. Its address is not told:
// a password may stand in it.
type Store struct {
	Kind string `json:"kind"` // server, sentinel, cluster
	TLS  bool   `json:"tls"`
	// Resting is since when it is left alone for moments because it fails; zero while
	// it is not.
	Resting time.Time `json:"resting,omitzero"`
	// Answered is when it last did what it was asked, Failed when it last did not, and
	// Reason a word for that.
	Answered time.Time `json:"answered,omitzero"`
	Failed   time.Time `json:"failed,omitzero"`
	Reason   string    `json:"reason,omitempty"`
	// OwnKey says that this replica uses a DPoP key of its own and shares no tokens,
	// KeyUnopened that the fleet's key stands in the store and can't be opened.
	OwnKey      bool `json:"own_dpop_key,omitempty"`
	KeyUnopened bool `json:"dpop_key_unopened,omitempty"`
}

// Registry is how it stands with TENANTS_FILE.
type Registry struct {
	File    string    `json:"file,omitempty"` // empty: none is configured
	Tenants int       `json:"tenants"`
	Loaded  time.Time `json:"loaded,omitzero"`
	// Faults are why the file as it now is can't be used; what was loaded stays in
	// use. MoreFaults are not listed.
	Faults     []Fault `json:"faults,omitempty"`
	MoreFaults int     `json:"more_faults,omitempty"`
}

// Fault is something wrong in a file.
type Fault struct {
	Where   string `json:"where"`
	Problem string `json:"problem"`
	Mend    string `json:"mend"`
}

// Tenant is how it stands with one organization and journal.
type Tenant struct {
	Parent  string `json:"parent"`
	Child   string `json:"child,omitempty"`
	Journal string `json:"journal"`
	// Alias and Name are the registry's.
	Alias string `json:"alias,omitempty"`
	Name  string `json:"name,omitempty"`
	// Tokens is how many are held, Until the end of the one that lives longest.
	Tokens int       `json:"tokens"`
	Until  time.Time `json:"until,omitzero"`
	// Failing says that the last try to renew one of them failed.
	Failing bool `json:"failing,omitempty"`
	// Trouble is the last refusal for which no token could be had; nil since one was.
	Trouble *Refusal `json:"trouble,omitempty"`
}

// Refusal is a call that the sidecar refused.
type Refusal struct {
	At        time.Time `json:"at"`
	Code      string    `json:"code"`
	Title     string    `json:"title"`
	Hint      string    `json:"hint"`
	Origin    string    `json:"origin"`
	Reason    string    `json:"reason,omitempty"`
	HID       string    `json:"hid,omitempty"`
	RequestID string    `json:"request_id"`
	Upstream  string    `json:"upstream,omitempty"`
	// Parent, Child and Journal are empty when the call was refused before its tenant
	// was known.
	Parent  string `json:"parent,omitempty"`
	Child   string `json:"child,omitempty"`
	Journal string `json:"journal,omitempty"`
}

package control

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"sfm-sidecar/internal/session"
)

// creation is the body of POST /_sidecar/sessions.
type creation struct {
	RefreshToken string          `json:"refresh_token"`
	Expect       *session.Expect `json:"expect"`
	Prompt       string          `json:"prompt"`
	MaxAuthAge   *int64          `json:"max_auth_age"`
	ACRValues    string          `json:"acr_values"`
	LoginHint    string          `json:"login_hint"`
	Tenants      []limit         `json:"tenants"`
	RedirectURI  string          `json:"redirect_uri"`
	Tenant       *limit          `json:"tenant"`
}

// limit is a tenant by its alias or by its numbers.
type limit struct {
	alias string
	session.Tenant
}

// UnmarshalJSON implements [json.Unmarshaler].
func (l *limit) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] == '"' {
		return json.Unmarshal(raw, &l.alias)
	}
	var members map[string]string
	if err := json.Unmarshal(raw, &members); err != nil {
		return refuse("request-invalid", "a tenant is an alias or an object of strings")
	}
	for name, value := range members {
		switch name {
		case "parent":
			l.Parent = value
		case "child":
			l.Child = value
		case "journal":
			l.Journal = value
		default:
			return refuse("request-invalid", "a tenant has parent, child and journal")
		}
	}
	return nil
}

func (h *Handler) create(w http.ResponseWriter, r *http.Request) error {
	if !h.o.LogIn {
		return refuse("grant-mismatch", "the grant user is not configured, so nobody can log in")
	}
	var c creation
	if err := decode(w, r, &c); err != nil {
		return err
	}
	begin, err := h.begin(r, &c)
	if err != nil {
		return err
	}
	if c.RefreshToken != "" {
		return h.adopt(w, r, c.RefreshToken, begin)
	}
	begun, err := h.o.Sessions.Begin(r.Context(), begin)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, struct {
		Session   string        `json:"session"`
		State     session.State `json:"state"`
		LoginURL  string        `json:"login_url"`
		ExpiresIn int           `json:"expires_in"`
	}{begun.Handle, session.Pending, begun.LoginURL, int(begun.ExpiresIn / time.Second)})
}

func (h *Handler) adopt(w http.ResponseWriter, r *http.Request, refreshToken string, b session.Begin) error {
	handle, err := h.o.Sessions.Adopt(r.Context(), refreshToken, b)
	if err != nil {
		return err
	}
	return answer(w, http.StatusCreated, struct {
		Session string        `json:"session"`
		State   session.State `json:"state"`
	}{handle, session.Active})
}

// begin checks what a log-in was asked for with. A limit that is there and limits
// nothing is refused: an EPJ whose own value was empty meant to be limited.
func (h *Handler) begin(r *http.Request, c *creation) (session.Begin, error) {
	b := session.Begin{Owner: h.o.Owner(r), LoginOptions: session.LoginOptions{
		Prompt: c.Prompt, ACRValues: c.ACRValues, LoginHint: c.LoginHint, MaxAuthAge: c.MaxAuthAge, RedirectURI: c.RedirectURI,
	}}
	switch {
	case c.MaxAuthAge != nil && *c.MaxAuthAge < 0:
		return b, refuse("request-invalid", "max_auth_age is a number of seconds, zero or more")
	case c.RedirectURI != "" && !absolute(c.RedirectURI):
		return b, refuse("request-invalid", "redirect_uri is an absolute address without fragment, as registered at HelseID")
	case max(len(c.Prompt), len(c.ACRValues), len(c.LoginHint), len(c.RedirectURI)) > maxText || len(c.Tenants) > maxTenants:
		return b, refuse("request-invalid", "a text is longer than %d bytes, or there are more than %d tenants", maxText, maxTenants)
	case c.Expect != nil && *c.Expect == session.Expect{}:
		return b, refuse("request-invalid", "expect names nobody; give pid, sub or hpr_number, or leave it out")
	case c.Tenants != nil && len(c.Tenants) == 0:
		return b, refuse("request-invalid", "tenants is empty; name at least one, or leave it out")
	}
	if c.Expect != nil {
		b.Expect = *c.Expect
	}
	for _, l := range c.Tenants {
		t, err := h.tenant(l)
		if err != nil {
			return b, err
		}
		b.Tenants = append(b.Tenants, t)
	}
	return b, h.beginAt(&b, c)
}

// beginAt puts the tenant that the log-in itself is for into b. A hand-over is of
// a log-in that was made, and needs none.
func (h *Handler) beginAt(b *session.Begin, c *creation) (err error) {
	switch {
	case c.Tenant == nil && h.o.TenantAtLogIn && c.RefreshToken == "":
		return refuse("request-invalid", "tenant is missing; with HELSEID_LOGIN_TENANT=request-object a log-in is for one organization and journal")
	case c.Tenant == nil:
		return nil
	case !h.o.TenantAtLogIn:
		return refuse("request-invalid", "tenant goes with HELSEID_LOGIN_TENANT=request-object; leave it out, and name the tenant at each call")
	case c.RefreshToken != "":
		return refuse("request-invalid", "tenant goes with a log-in; this one was made, leave it out")
	}
	if b.Tenant, err = h.tenant(*c.Tenant); err != nil {
		return err
	}
	if !(session.Session{Tenants: b.Tenants}).Allows(b.Tenant) {
		return refuse("request-invalid", "tenant is not among tenants, the only ones that the session may use")
	}
	return nil
}

// tenant checks one that was named in a body.
func (h *Handler) tenant(l limit) (session.Tenant, error) {
	if l.alias != "" && h.o.Alias == nil {
		return session.Tenant{}, refuse("tenant-unknown", "no tenant has the alias that was given")
	}
	if l.alias != "" {
		t, err := h.o.Alias(l.alias)
		return session.Tenant(t), err
	}
	t, err := h.o.Parse(l.Parent, l.Child, l.Journal)
	return session.Tenant(t), err
}

func absolute(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.IsAbs() && u.Fragment == ""
}

func (h *Handler) status(w http.ResponseWriter, r *http.Request) error {
	handle, err := session.Handle(r.Header)
	if err != nil {
		return err
	}
	wait, err := waiting(r.URL.Query().Get("wait"))
	if err != nil {
		return err
	}
	ctx, cancel := h.untilStop(r.Context())
	defer cancel()
	if wait > 0 {
		if h.waiting.Add(1) <= maxWaiting {
			defer h.waiting.Add(-1)
		} else {
			h.waiting.Add(-1)
			h.hesitate(ctx, wait)
			wait = 0 // the EPJ asks again
		}
	}
	s, err := h.o.Sessions.Status(ctx, handle, h.o.Owner(r), wait)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, h.view(r, s))
}

// hesitate holds one waiter too many for a moment without a watch, so that one who asks
// again at once is no burden; and not all of them for the same time.
func (h *Handler) hesitate(ctx context.Context, wait time.Duration) {
	defer h.hesitating.Add(-1)
	if h.hesitating.Add(1) > maxHesitating {
		return
	}
	moment := time.NewTimer(min(wait, time.Second+rand.N(time.Second)))
	defer moment.Stop()
	select {
	case <-moment.C:
	case <-ctx.Done():
	}
}

// untilStop is a context that also ends when the sidecar begins to stop.
func (h *Handler) untilStop(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-h.o.Stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// waiting reads the wait parameter, at most [maxWait].
func waiting(raw string) (time.Duration, error) {
	if raw == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(raw)
	if err != nil || d < 0 {
		return 0, refuse("request-invalid", "wait is a duration with its unit, such as 30s")
	}
	return min(d, maxWait), nil
}

// view is the answer of GET /_sidecar/session.
type view struct {
	State         session.State `json:"state"`
	ExpiresAt     *time.Time    `json:"expires_at"`
	AuthTime      *time.Time    `json:"auth_time"`
	SecurityLevel string        `json:"security_level,omitempty"`
	User          *user         `json:"user,omitempty"`
	SFMSessions   []SFMSession  `json:"sfm_sessions"`
	Error         any           `json:"error,omitempty"`
}

// SFMSession is one of SFM's own sessions that was opened through the sidecar.
type SFMSession struct {
	Tenant session.Tenant `json:"tenant"`
	// State is open or lost, Since when it came to be so.
	State string    `json:"state"`
	Since time.Time `json:"since"`
}

type user struct {
	Subject   string  `json:"sub"`
	Name      string  `json:"name"`
	HPRNumber *string `json:"hpr_number"`
}

func (h *Handler) view(r *http.Request, s session.Status) view {
	v := view{State: s.State, ExpiresAt: known(s.Expires), SFMSessions: []SFMSession{}}
	if s.State == session.Active {
		p := s.Person
		v.AuthTime, v.SecurityLevel = known(p.AuthTime), p.SecurityLevel
		v.User = &user{Subject: p.Subject, Name: p.Name}
		if p.HPRNumber != "" {
			v.User.HPRNumber = &p.HPRNumber
		}
		for _, open := range h.o.SFMSessions(r.Context(), s.ID) {
			open.Since = *known(open.Since)
			v.SFMSessions = append(v.SFMSessions, open)
		}
	}
	if s.Err != nil {
		v.Error = h.o.Problem(r, s.Err)
	}
	return v
}

// known is nil for the zero time.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

func (h *Handler) end(w http.ResponseWriter, r *http.Request) error {
	handle, err := session.Handle(r.Header)
	if err != nil {
		return err
	}
	ended, err := h.o.Sessions.End(r.Context(), handle, h.o.Owner(r), r.URL.Query().Get("id_token_hint") == "true")
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, struct {
		EndSessionURL string   `json:"end_session_url"`
		Undone        []string `json:"undone,omitempty"`
	}{ended.EndSessionURL, ended.Undone})
}

// foreignCallback is the callback of an EPJ with its own redirect address. With
// Sfm-Session the EPJ says whose log-in it began in that browser: the state is not
// known to it, so this is how it binds the two.
func (h *Handler) foreignCallback(w http.ResponseWriter, r *http.Request) error {
	var c struct {
		Code             string `json:"code"`
		State            string `json:"state"`
		Issuer           string `json:"iss"`
		Error            string `json:"error"`
		ErrorDescription string `json:"error_description"` // known, and not used
	}
	if err := decode(w, r, &c); err != nil {
		return err
	}
	handle := ""
	if _, bound := r.Header[session.Header]; bound {
		var err error
		if handle, err = session.Handle(r.Header); err != nil {
			return err
		}
	}
	err := h.o.Sessions.Finish(r.Context(), session.Callback{
		Code: c.Code, State: c.State, Issuer: c.Issuer, Error: c.Error, Handle: handle,
	})
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, struct {
		State session.State `json:"state"`
	}{session.Active})
}

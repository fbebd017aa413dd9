package app

import (
	"encoding/json"
	"net/http"

	"sfm-sidecar/internal/control"
)

// The status page, and the same as JSON for the support bundle.
const (
	statusPath  = "/"
	supportPath = "/support"
)

// showStatus answers both. They are there on admin listeners that no other machine
// reaches, by the rules of every other call: no web page, the caller key, the allowed
// users.
//
// A person's browser gives the key as the password of HTTP's own Basic dialog, with
// any user name. The key is then kept by the browser, for this origin with its port
// and until it is closed; a cookie would be sent to every program that listens on
// this host, and a form's POST would need the rule about Origin to be bent.
func (s *Sidecar) showStatus(w http.ResponseWriter, r *http.Request) {
	if !s.fromHere(r) {
		s.elsewhere(w, r, "the status page is for loopback addresses alone; see SIDECAR_ADMIN_LISTEN")
		return
	}
	if err := s.house.proxy.Admit(withKey(r)); err != nil {
		if r.URL.Path == statusPath {
			err = control.AskForKey(err)
		}
		s.house.proxy.Refuse(w, r, err)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		s.house.proxy.Refuse(w, r, &wrongMethod{refusal{"control-unknown", "the status is read by GET"}})
		return
	}
	if r.URL.Path == statusPath {
		control.WriteStatus(w, r, s.status())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = json.NewEncoder(w).Encode(s.status()) // who asked may have left
}

// withKey is the request with the password of its Basic credentials as caller key. A
// header of its own goes before it.
func withKey(r *http.Request) *http.Request {
	_, key, ok := r.BasicAuth()
	if _, own := r.Header["Sidecar-Key"]; !ok || own || key == "" {
		return r
	}
	r = r.Clone(r.Context())
	r.Header["Sidecar-Key"] = []string{key}
	return r
}

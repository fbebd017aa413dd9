package app

import (
	"io"
	"net/http"
)

// quitPath ends the process over HTTP: for a job whose pod would otherwise never be
// done, since its sidecar lives on.
const quitPath = "/quit"

// quit begins the end, in the same order as SIGTERM does. It is there only where it
// is enabled, on admin listeners that no other machine reaches.
func (s *Sidecar) quit(w http.ResponseWriter, r *http.Request) {
	if !s.quittable || !s.fromHere(r) {
		s.elsewhere(w, r, "this address can't end the process; see SIDECAR_ENABLE_QUIT")
		return
	}
	if err := s.house.proxy.Admit(r); err != nil {
		s.house.proxy.Refuse(w, r, err)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		s.house.proxy.Refuse(w, r, &wrongMethod{refusal{"control-unknown", "the process is ended by POST"}})
		return
	}
	s.server.log.Info("asked over HTTP to end")
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"status":"ok","reason":"stopping"}`+"\n") // who asked may have left
	s.end()
}

// wrongMethod is a refusal of a path that is there, but not with this method.
type wrongMethod struct{ refusal }

// MethodNotAllowed makes it a 405.
func (*wrongMethod) MethodNotAllowed() bool { return true }

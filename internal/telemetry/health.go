package telemetry

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
)

// Health is what the process tells an orchestrator about itself. It has three
// answers, each for a question of its own:
//
//   - /startup: has it come up? Until then nothing else is worth asking.
//   - /readyz: should new calls be sent here? No before the start is done and from
//     the moment when the process is told to end.
//   - /livez: does it run at all? A process that answers does. A failure calls for a
//     restart, so nothing that a restart would not mend may fail it.
//
// None of them asks HelseID, SFM or the store: an outage there would take away
// every replica while cached tokens are good.
//
// The zero Health is ready to use and says that the process is starting.
type Health struct {
	started  atomic.Bool
	stopping atomic.Bool
}

// Started tells that the listeners are open and calls can be answered.
func (h *Health) Started() { h.started.Store(true) }

// Stopping tells that the process is about to end. It can't be taken back.
func (h *Health) Stopping() { h.stopping.Store(true) }

// report is the body of every answer.
type report struct {
	Status string `json:"status"` // ok or unavailable
	Reason string `json:"reason"`
}

// Handler answers /startup, /readyz and /livez, with 200 or 503 and a JSON body of
// status and reason; any other path with 404.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /startup", func(w http.ResponseWriter, _ *http.Request) { answer(w, h.startup()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { answer(w, h.ready()) })
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, report{ok, "running"}) })
	return mux
}

const (
	ok          = "ok"
	unavailable = "unavailable"
)

func (h *Health) startup() report {
	if !h.started.Load() {
		return report{unavailable, "starting"}
	}
	return report{ok, "started"}
}

func (h *Health) ready() report {
	switch {
	case h.stopping.Load():
		return report{unavailable, "stopping"}
	case !h.started.Load():
		return report{unavailable, "starting"}
	}
	return report{ok, "ready"}
}

func answer(w http.ResponseWriter, r report) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if r.Status != ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(r) // a prober that has left needs no answer
}

package proxy

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// heard collects what a Proxy tells of SFM's answers.
type heard struct {
	mu  sync.Mutex // guards all
	all []Answer
}

func (h *heard) hear(o *Options) {
	o.Answered = func(a Answer) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.all = append(h.all, a)
	}
}

func (h *heard) answers() []Answer {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.all)
}

// Every answer of SFM is told with the call it belongs to, before the caller has it;
// refusals of ours are none.
func TestAnswersAreTold(t *testing.T) {
	var told heard
	h := open(t, upstreamServer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) }), told.hear)
	h.do(h.ask("POST", "/basis/api/v2/Session/%63reate?secret=1", nil))
	all := told.answers()
	if len(all) != 1 {
		t.Fatalf("%d answers are told", len(all))
	}
	a := all[0]
	if a.Method != "POST" || a.Path != "/api/v2/Session/%63reate" || a.Status != http.StatusAccepted || a.Token.AccessToken == "" ||
		a.Ask.Upstream.Name != "basis" || a.Ask.Tenant.Parent != "100100126" {
		t.Errorf("told of %s %s, %d, of %s", a.Method, a.Path, a.Status, a.Ask.Tenant.Parent)
	}
	h.do(h.ask("POST", "/nowhere/Session/create", nil))
	if n := len(told.answers()); n != 1 {
		t.Errorf("%d answers are told after a refusal", n)
	}
}

// An answer counts although its caller has left: SFM has done the work.
func TestAnswerToACallerThatLeftIsTold(t *testing.T) {
	var told heard
	arrived, goOn := make(chan bool), make(chan bool)
	h := open(t, upstreamServer(t, func(http.ResponseWriter, *http.Request) {
		arrived <- true
		<-goOn
	}), told.hear)
	conn := h.leaver("POST", "Content-Length: 0\r\n", "")
	<-arrived
	conn.Close()
	// The server needs a moment to notice; the answer counts in either case.
	time.Sleep(20 * time.Millisecond)
	goOn <- true
	if err := h.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all := told.answers(); len(all) != 1 || !strings.HasPrefix(all[0].Path, "/") {
		t.Errorf("%d answers are told", len(all))
	}
}

package app

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// timed remembers the read deadline that was set last.
type timed struct {
	*httptest.ResponseRecorder
	deadline time.Time
}

func (t *timed) SetReadDeadline(deadline time.Time) error {
	t.deadline = deadline
	return nil
}

// A body that came leaves the rest of the call the time it needs: net/http takes a deadline
// that passes for the caller's leaving. One that is refused is not read to its end.
func TestDeadlineOfABody(t *testing.T) {
	for body, lifted := range map[string]bool{`{"all":true}`: true, `{"all":`: false, `{}{}`: false} {
		r := httptest.NewRequest(http.MethodPost, sessionsEndPath, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := &timed{httptest.NewRecorder(), time.Now()}
		if _, err := readSessionsBody(w, r); lifted != (err == nil) || lifted != w.deadline.IsZero() {
			t.Errorf("%s: %v, the deadline is %v", body, err, w.deadline)
		}
	}
}

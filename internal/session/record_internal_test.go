package session

import (
	"encoding/json"
	"testing"
	"time"
)

// What is kept beyond the process is a session that can still be used.
func TestLives(t *testing.T) {
	now := time.Now()
	tests := map[string]struct {
		entry any
		lives bool
	}{
		"active":            {record{State: Active, Expires: now.Add(time.Hour)}, true},
		"of unknown length": {record{State: Active}, true},
		"run out":           {record{State: Active, Expires: now.Add(-time.Second)}, false},
		"pending":           {record{State: Pending, Begun: now}, false},
		"failed":            {record{State: Failed, Problem: errPending}, false},
		"ended":             {record{State: Expired, Problem: expiredError("x")}, false},
		"nothing":           {struct{}{}, false},
		"no record":         {"text", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			entry, err := json.Marshal(tt.entry)
			if err != nil {
				t.Fatal(err)
			}
			if got := Lives(entry); got != tt.lives {
				t.Errorf("%v", got)
			}
		})
	}
}

package doctor

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"
)

// storeServer is one that all is well with.
func storeServer(change map[string]string) StoreServer {
	settings := map[string]string{
		"redis_version": "7.0.15", "role": "master", "maxmemory": "104857600", "maxmemory_policy": "noeviction", "used_memory": "1048576",
		"aof_enabled": "1", "connected_slaves": "0", "save": "", "min-replicas-to-write": "0",
	}
	maps.Copy(settings, change)
	maps.DeleteFunc(settings, func(_, v string) bool { return v == "-" })
	return StoreServer{Settings: settings, ClockKnown: true}
}

var storeSince = time.Date(2026, 11, 22, 6, 0, 0, 0, time.UTC)

func TestStore(t *testing.T) {
	t.Parallel()
	tells := func(change map[string]string) func(*Store) {
		return func(s *Store) { s.Servers[0] = storeServer(change) }
	}
	for name, c := range map[string]struct {
		change  func(*Store)
		subject string
		status  Status
		says    string
	}{
		"well":           {func(*Store) {}, "", OK, "Redis 7.0.15, one server; an answer takes 0.5 ms"},
		"unreachable":    {func(s *Store) { s.Down, s.Reason = "refused", "unreachable" }, "", Failed, "network policy"},
		"wrong password": {func(s *Store) { s.Down, s.Reason = "WRONGPASS", "credentials" }, "", Failed, "percent-encoded"},
		"untrusted":      {func(s *Store) { s.Down, s.Reason = "x509", "untrusted" }, "", Failed, "SIDECAR_CA_FILE"},
		"odd":            {func(s *Store) { s.Down, s.Reason = "ERR", "refused" }, "", Failed, "6.2 or later"},
		"valkey":         {tells(map[string]string{"valkey_version": "8.1.0", "redis_version": "7.2.4"}), "", OK, "Valkey 8.1.0"},
		"old":            {tells(map[string]string{"redis_version": "6.0.16"}), "", Failed, "too old"},
		"old enough":     {tells(map[string]string{"redis_version": "6.2.0"}), "", OK, "Redis 6.2.0"},
		"too old for many": {func(s *Store) {
			s.Kind = "cluster"
			s.Servers[0] = storeServer(map[string]string{"redis_version": "6.2.0"})
		}, "", Failed, "7.0 in a cluster"},
		"the oldest": {func(s *Store) {
			s.Servers = append(s.Servers, storeServer(map[string]string{"redis_version": "6.0.1"}), storeServer(nil))
		}, "", Failed, "6.0.1"},
		"version unknown": {tells(map[string]string{"redis_version": "-"}), "", OK, "does not tell its version"},
		"far":             {func(s *Store) { s.RoundTrip = 30 * time.Millisecond }, "", Warning, "nearer"},
		"bare":            {func(s *Store) { s.Bare = true }, "", Warning, "rediss://"},

		"rights": {func(*Store) {}, "rights", OK, "rights that the sidecar needs"},
		"denied": {func(s *Store) {
			s.Denied = []StoreDenial{{"lock", "credentials", "NOPERM"}, {"list", "credentials", "NOPERM"}}
		},
			"rights", Failed, "could not lock: NOPERM"},
		"no list":        {func(s *Store) { s.Denied = []StoreDenial{{"list", "credentials", "NOPERM"}} }, "rights", Warning, "SCAN"},
		"lacks replicas": {func(s *Store) { s.Denied = []StoreDenial{{"write", "replicas", "NOREPLICAS"}} }, "rights", Failed, "bring a replica back"},
		"full":           {func(s *Store) { s.Denied = []StoreDenial{{"write", "full", "OOM"}} }, "rights", Failed, "do not empty"},

		"keys":         {func(*Store) {}, "keys", OK, "one key"},
		"three keys":   {func(s *Store) { s.Keys = 3 }, "keys", OK, "3 keys"},
		"unused":       {func(s *Store) { s.Names = "unused" }, "keys", OK, "nobody has used"},
		"other keys":   {func(s *Store) { s.Names = "others'" }, "keys", Failed, "same last key"},
		"keys unknown": {func(s *Store) { s.Names = "" }, "keys", Warning, "could not be told"},

		"memory":         {func(*Store) {}, "memory", OK, "1 MiB used of 100 MiB"},
		"no limit":       {tells(map[string]string{"maxmemory": "0"}), "memory", OK, "no limit"},
		"evicts":         {tells(map[string]string{"maxmemory_policy": "allkeys-lru"}), "memory", Warning, "noeviction"},
		"nearly full":    {tells(map[string]string{"used_memory": "99857600"}), "memory", Warning, "raise maxmemory"},
		"memory unknown": {tells(map[string]string{"maxmemory_policy": "-"}), "memory", OK, "unknown"},

		"persistence":         {func(*Store) {}, "persistence", OK, "on disk: yes"},
		"volatile":            {tells(map[string]string{"aof_enabled": "0"}), "persistence", Warning, "appendonly"},
		"snapshots":           {tells(map[string]string{"aof_enabled": "0", "save": "3600 1"}), "persistence", OK, "on disk: yes"},
		"save unknown":        {tells(map[string]string{"aof_enabled": "0", "save": "-"}), "persistence", Warning, "on disk: no"},
		"replica":             {tells(map[string]string{"role": "slave"}), "persistence", Failed, "master_name"},
		"lax":                 {tells(map[string]string{"connected_slaves": "1"}), "persistence", Warning, "min-replicas-to-write 1"},
		"strict":              {tells(map[string]string{"connected_slaves": "1", "min-replicas-to-write": "1"}), "persistence", OK, "does not log anybody out"},
		"lone sentinel":       {func(s *Store) { s.Kind = "sentinel" }, "persistence", Warning, "fail over"},
		"persistence unknown": {tells(map[string]string{"role": "-"}), "persistence", OK, "unknown"},

		"dpop": {func(*Store) {}, "dpop", OK, "the DPoP key one, in use since 2026-11-22T06:00:00Z all"},
		"dpop rotated": {func(s *Store) {
			s.DPoP.Earlier = []StoreDPoPEarlier{{"two", storeSince.Add(24 * time.Hour)}, {"three", storeSince.Add(time.Hour)}}
		}, "dpop", OK, "2 earlier, the last one is dropped at 2026-11-23T06:00:00Z"},
		"dpop of old":   {func(s *Store) { s.DPoP.Since = time.Time{} }, "dpop", OK, "not known"},
		"dpop of later": {func(s *Store) { s.DPoP.State = "newer" }, "dpop", Warning, "update"},
		"no dpop":       {func(s *Store) { s.DPoP = &StoreDPoP{State: "none"} }, "dpop", OK, "first sidecar"},
		"dpop unopened": {func(s *Store) { s.DPoP = &StoreDPoP{State: "unopened", Problem: "no key"} }, "dpop", Failed, "can't be opened: no key"},
		"dpop not read": {func(s *Store) { s.DPoP = &StoreDPoP{Problem: "slow"} }, "dpop", Warning, "slow"},

		"clock":         {func(*Store) {}, "clock", OK, "0s from HelseID's"},
		"clock off":     {func(s *Store) { s.Servers[0].Ahead = -6 * time.Second }, "clock", Warning, "-6s"},
		"clock nearly":  {func(s *Store) { s.Servers[0].Ahead = 4 * time.Second }, "clock", OK, "4s"},
		"clock unknown": {func(s *Store) { s.Servers[0].ClockKnown = false }, "clock", OK, "unknown"},
	} {
		s := Store{Kind: "server", RoundTrip: 500 * time.Microsecond, Servers: []StoreServer{storeServer(nil)}, Keys: 1, Names: "ours", DPoP: &StoreDPoP{State: "held", Thumbprint: "one", Since: storeSince}}
		c.change(&s)
		e := &examination{report: &Report{}, broken: map[string]bool{}, o: Options{
			HelseID: &fake{}, Store: func(context.Context) Store { return s },
		}}
		e.store(t.Context())
		found := false
		for _, step := range e.report.Steps {
			if step.Name != stepStore || step.Tried == "" {
				t.Errorf("%s: the step %+v", name, step)
			}
			if step.Subject != c.subject {
				continue
			}
			found = true
			if said := step.Found + " " + step.Means + " " + step.Do; step.Status != c.status || !strings.Contains(said, c.says) {
				t.Errorf("%s: %s, %s", name, step.Status, said)
			}
			if (step.Status == Failed || step.Status == Warning) && step.Do == "" {
				t.Errorf("%s: nothing to do", name)
			}
		}
		if name == "well" { // the same clock, seen from a machine that is behind
			if f := s.clock(6*time.Second, true); f.Status != Warning || !strings.Contains(f.Found, "-6s") {
				t.Errorf("HelseID's clock 6 s ahead: %+v", f)
			}
		}
		if !found {
			t.Errorf("%s: no step %q", name, c.subject)
		}
		if want := map[bool]int{true: 1, false: 7}[c.subject == "" && c.status == Failed]; len(e.report.Steps) != want {
			t.Errorf("%s: %d steps, want %d", name, len(e.report.Steps), want)
		}
	}
}

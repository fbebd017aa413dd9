package doctor

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sfm-sidecar/internal/helseid"
)

// Store is what was found out about the store that replicas share. Texts are of the program or masked.
type Store struct {
	// Kind is "server", "sentinel" or "cluster". Bare says that what goes to another machine is not encrypted.
	Kind string
	Bare bool
	// Down is why it can't be asked, and Reason a word for that ("unreachable", "slow", "credentials", ...); "" = it can.
	Down, Reason string
	RoundTrip    time.Duration
	Servers      []StoreServer
	Denied       []StoreDenial // what it did not do when it was tried
	Keys         int           // that open entries
	Names        string        // "ours", "others'", "unused", or "" = can't be told
	DPoP         *StoreDPoP    // nil = not looked for
}

// StoreServer is what one server tells of itself. Settings has the names of its INFO and CONFIG GET; one that it does not
// tell, or may not, is missing.
type StoreServer struct {
	Settings   map[string]string
	Ahead      time.Duration // its clock of this machine's
	ClockKnown bool          // its clock could be read
}

// StoreDenial is an operation that failed.
type StoreDenial struct{ Operation, Reason, Problem string }

// Limits of what is found fault with.
const (
	storeSlow  = 20 * time.Millisecond // for one question without work
	storeClock = 5 * time.Second
	storeFull  = 0.9
)

// store examines the store that replicas share, where one is configured.
func (e *examination) store(ctx context.Context) {
	if e.o.Store == nil {
		return
	}
	var s Store
	f := e.run(ctx, step{
		name: stepStore, tried: "reaching the server of SIDECAR_STORE, and writing, reading, locking and watching an entry there that is taken away again",
		look: func(ctx context.Context) Finding {
			s = e.o.Store(ctx)
			return s.reached()
		},
	})
	if f.Status == Failed || f.Status == Skipped {
		return
	}
	type part struct {
		subject, tried string
		look           func() Finding
	}
	parts := []part{
		{"rights", "doing once what the sidecar does there", s.rights},
		{"keys", "comparing SIDECAR_STORE_KEY with the note of the sidecars that use the store", s.keys},
		{"memory", "INFO: maxmemory, maxmemory_policy, used_memory", s.memory},
		{"persistence", "INFO and CONFIG GET: appendonly, save, replicas, min-replicas-to-write", s.persistence},
		{"clock", "comparing the server's clock (TIME) with HelseID's", func() Finding { return s.clock(e.o.HelseID.Skew()) }},
	}
	if s.DPoP != nil {
		parts = append(parts, part{"dpop", "reading the DPoP key that the sidecars share", s.DPoP.dpop})
	}
	for _, part := range parts {
		e.run(ctx, step{name: stepStore, subject: part.subject, tried: part.tried, look: func(context.Context) Finding { return part.look() }})
	}
}

// storeMeans says of each reason what it means and what to do.
var storeMeans = map[string][2]string{
	"unreachable": {"the sidecars can't share log-ins and tokens: persons get store-unavailable, machines ask HelseID each for itself",
		"see that the server runs, that the address in SIDECAR_STORE is right (rediss:// where it wants TLS), and that the network policy lets the sidecar through"},
	"slow": {"the server does not answer within SIDECAR_STORE_TIMEOUT",
		"see the network and the load of the server; every call that needs the store would wait this long, then fail"},
	"credentials": {"the server does not take the user or password in SIDECAR_STORE, or that user may not do this",
		"compare user and password (special characters must be percent-encoded); give the user the rights in docs/shared-store.md"},
	"untrusted": {"the server's certificate is not one that is trusted, or is for another host",
		"name its authority in SIDECAR_CA_FILE, and the host in SIDECAR_STORE as the certificate has it"},
	"full": {"the server's memory is used up, and it takes no more entries", "raise maxmemory; do not empty the server: that logs everybody out"},
	"read-only": {"the server is a replica, or can't write its disk",
		"name the master, or the sentinels with master_name, in SIDECAR_STORE; see the server's disk and log"},
	"replicas": {"fewer replicas follow the server than its min-replicas-to-write asks for, so it takes no writes",
		"bring a replica back; after a failover wait until one has copied the new master, which takes seconds, or minutes with much data"},
	"moved": {"the server is a node of a cluster", "add cluster=true to the query of SIDECAR_STORE"},
}

func storeFault(found, reason string) Finding {
	says, ok := storeMeans[reason]
	if !ok {
		says = [2]string{"the server refused it", "see the server's log; Redis 6.2 or later, or Valkey, is needed, in a cluster 7.0"}
	}
	f := wrong(found, says[0], says[1])
	f.Code = "store-unavailable"
	return f
}

// reached: is it there, what is it, how far away.
func (s Store) reached() Finding {
	if s.Down != "" {
		return storeFault(s.Down, s.Reason)
	}
	kind := map[string]string{"server": "one server", "sentinel": "a master known by sentinels", "cluster": "a cluster"}[s.Kind]
	name, old := s.software()
	f := good(fmt.Sprintf("%s, %s; an answer takes %s", name, kind, milli(s.RoundTrip)), "replicas can share log-ins, tokens and the DPoP key here")
	switch {
	case old:
		f = wrong(f.Found, "the server is too old: Redis 6.2 is needed, 7.0 in a cluster", "update the server, or take Valkey")
	case s.RoundTrip > storeSlow:
		f = careful(f.Found, "the way there is long: each log-in and each token that is not in memory waits for it several times",
			"put the server nearer, or see what slows it")
	case s.Bare:
		f = careful(f.Found, "the way there is not encrypted: entries are sealed, but the password, and how often who is used, can be read",
			"use rediss:// where others share the network")
	}
	f.Details = Details{{Name: "kind", Value: s.Kind}, {Name: "servers", Value: strconv.Itoa(len(s.Servers))},
		{Name: "version", Value: name}, {Name: "round_trip", Value: milli(s.RoundTrip)}}
	return f
}

func milli(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'g', 3, 64) + " ms"
}

// software names the oldest server, and says whether it is too old.
func (s Store) software() (name string, old bool) {
	name = "a server that does not tell its version"
	least := 602
	if s.Kind == "cluster" {
		least = 700
	}
	oldest := 1 << 30
	for _, server := range s.Servers {
		software, version := "Redis", server.Settings["redis_version"]
		n, ok := versionNumber(version)
		if ok && n < oldest {
			oldest = n
			if own := server.Settings["valkey_version"]; own != "" {
				software, version = "Valkey", own
			}
			name, old = software+" "+version, n < least
		}
	}
	return name, old
}

// versionNumber is 602 for 6.2.1. Valkey, too, tells which Redis it stands for.
func versionNumber(version string) (int, bool) {
	parts := strings.Split(version, ".")
	if len(parts) < 2 {
		return 0, false
	}
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	return 100*major + minor, err == nil && err2 == nil
}

func (s Store) rights() Finding {
	if len(s.Denied) == 0 {
		return good("an entry could be written, read, locked, watched, listed and taken", "the user has the rights that the sidecar needs")
	}
	first := s.Denied[0]
	f := storeFault("could not "+first.Operation+": "+first.Problem, first.Reason)
	if len(s.Denied) == 1 && first.Operation == "list" {
		f = careful(f.Found, "only sidecar sessions list needs it; calls do not", "allow the command SCAN where that is wanted")
	}
	for _, d := range s.Denied {
		f.Details = append(f.Details, helseid.Fact{Name: d.Operation, Value: d.Problem})
	}
	return f
}

func (s Store) keys() Finding {
	found := fmt.Sprintf("%d keys; the first seals, all open, the last one names", s.Keys)
	if s.Keys == 1 {
		found = "one key, which seals, opens and names"
	}
	switch s.Names {
	case "ours":
		return good(found+"; the store is used with the same names", "what other sidecars store is found here")
	case "unused":
		return good(found+"; nobody has used the store for a day", "the first sidecar that writes decides which key names the entries")
	case "others'":
		return wrong(found+"; the store is used with other names", "the sidecars that use the store have another last key: a sidecar with this one does not start",
			"give all of them the same last key in SIDECAR_STORE_KEY; a new key goes to the front, as old,new,old and then new,old. If a key leaked, follow docs/kubernetes.md, A key that leaked")
	}
	return careful(found, "whether others use the same could not be told", "run the check again")
}

// unknown is a finding about something that a server does not tell. Managed servers often don't, and an ACL user of the
// sidecar's own should not be let ask.
func unknown(what string) Finding {
	return Finding{Status: OK, Found: "unknown: the server does not tell, or the user may not ask (INFO, CONFIG)", Means: what}
}

// each returns what the servers tell under a name; those that tell nothing are left out.
func (s Store) each(name string) []string {
	var all []string
	for _, server := range s.Servers {
		if v, ok := server.Settings[name]; ok {
			all = append(all, v)
		}
	}
	return all
}

func (s Store) memory() Finding {
	policies := s.each("maxmemory_policy")
	if len(policies) == 0 {
		return unknown("see for yourself that maxmemory-policy is noeviction: a server that throws entries away logs persons out")
	}
	limit, used, part := 0.0, 0.0, 0.0
	for _, server := range s.Servers {
		most, _ := strconv.ParseFloat(server.Settings["maxmemory"], 64)
		has, _ := strconv.ParseFloat(server.Settings["used_memory"], 64)
		if limit, used = limit+most, used+has; most > 0 {
			part = max(part, has/most)
		}
	}
	evicts := slices.IndexFunc(policies, func(p string) bool { return p != "noeviction" })
	found := fmt.Sprintf("%.0f MiB used of %.0f MiB", used/(1<<20), limit/(1<<20))
	if limit == 0 {
		found = fmt.Sprintf("%.0f MiB used, no limit", used/(1<<20))
	}
	switch {
	case evicts >= 0:
		return careful(found+", maxmemory-policy "+policies[evicts], "when its memory is full, the server throws entries away: persons are logged out, and locks can be lost",
			"set maxmemory-policy to noeviction; a full server then says so, and nothing is lost")
	case part > storeFull:
		return careful(found+", maxmemory-policy noeviction", "the memory is nearly used up; when it is, nobody can log in", "raise maxmemory; docs/shared-store.md has the sizes of entries")
	case limit == 0:
		return good(found+", maxmemory-policy noeviction", "nothing is thrown away; without a limit (maxmemory) the machine's memory is it")
	}
	return good(found+", maxmemory-policy noeviction", "nothing is thrown away; a full server says so")
}

func (s Store) persistence() Finding {
	roles := s.each("role")
	if len(roles) == 0 {
		return unknown("see for yourself that the server keeps its data over a restart (appendonly), or has a replica: else a restart logs everybody out")
	}
	disk, replicas := true, true
	for _, server := range s.Servers {
		save, told := server.Settings["save"]
		disk = disk && (server.Settings["aof_enabled"] == "1" || told && save != "")
		replicas = replicas && server.Settings["connected_slaves"] != "0"
	}
	asked := s.each("min-replicas-to-write")
	lax := slices.Contains(asked, "0")
	found := fmt.Sprintf("on disk: %s; replicas: %s", yesNo(disk), strings.Join(s.each("connected_slaves"), ", "))
	if len(asked) > 0 {
		found += "; min-replicas-to-write: " + strings.Join(asked, ", ")
	}
	switch {
	case slices.Contains(roles, "slave"):
		return wrong(found+"; role replica", "nothing can be written there", storeMeans["read-only"][1])
	case !disk && !replicas:
		return careful(found, "a restart of the server logs everybody out", "set appendonly yes, or add a replica")
	case s.Kind == "sentinel" && !replicas:
		return careful(found, "there is nothing to fail over to", "see why the replica is not connected")
	case replicas && lax:
		return careful(found, "when the master dies, what its replicas had not got yet is lost: a refresh token may then be an old one, and its person has to log in again",
			"set min-replicas-to-write 1 at the servers; a write without a replica is then refused")
	}
	return good(found, "a restart of the server does not log anybody out")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// clock: lives of entries are lengths of time, so a clock that is off ends nothing early.
func (s Store) clock(skew time.Duration, known bool) Finding {
	var worst time.Duration
	told := false
	for _, server := range s.Servers {
		if off := server.Ahead - skew; server.ClockKnown && (!told || off.Abs() > worst.Abs()) {
			worst, told = off, true
		}
	}
	if !told {
		return unknown("locks go by the server's clock; see for yourself that it is set by NTP")
	}
	with := "HelseID's"
	if !known {
		with = "this machine's (HelseID's is not known)"
	}
	f := good(fmt.Sprintf("%s from %s", worst.Round(100*time.Millisecond), with), "locks are numbered by this clock; it is good enough")
	if worst.Abs() > storeClock {
		f = careful(f.Found, "entries live as long as they should, and locks are safe; but a clock that jumps back more than ten minutes could let an old holder write",
			"set the server's clock by NTP")
	}
	f.Details = Details{{Name: "offset_seconds", Value: strconv.FormatFloat(worst.Seconds(), 'f', 1, 64)}}
	return f
}

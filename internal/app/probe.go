package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"sfm-sidecar/internal/config"
)

// probes are the words of sidecar probe, and where they ask.
var probes = map[string]string{"startup": "/startup", "ready": "/readyz", "live": "/livez"}

// probeTimeout is how long an answer may take; an orchestrator's own limit is
// usually shorter.
const probeTimeout = 5 * time.Second

// probe asks the admin listener of the sidecar that runs with the same environment:
// for health checks in an image that has no other program. It answers by exit code.
func probe(ctx context.Context, o Options) int {
	if len(o.Args) != 1 || probes[o.Args[0]] == "" {
		return misused(o)
	}
	admin, err := config.AdminAddress(o.Environ)
	if err != nil {
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: %v\n", err)
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	status, said, err := askProbe(ctx, reachable(admin), probes[o.Args[0]])
	if err != nil {
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: no answer from %s (SIDECAR_ADMIN_LISTEN): %v\n", admin, err)
		return exitFailed
	}
	_, _ = fmt.Fprintf(o.Stdout, "%d %.100q\n", status, cmp.Or(said.Reason, "no reason was given"))
	if status != http.StatusOK || said.Status != "ok" { // another program may have the port, and answer
		return exitFailed
	}
	return exitDone
}

// reachable is an address to dial for one that is listened on.
func reachable(admin string) string {
	host, port, err := net.SplitHostPort(admin)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return admin
}

// probed is what a probe is answered (telemetry.Health).
type probed struct {
	Status string `json:"status"`
	Reason string `json:"reason"`
}

// askProbe makes the call. It goes straight there: HTTP_PROXY means other calls.
func askProbe(ctx context.Context, address, path string) (status int, said probed, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, said, err
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return 0, said, err
	}
	defer res.Body.Close()
	if json.NewDecoder(io.LimitReader(res.Body, 4<<10)).Decode(&said) != nil {
		said = probed{Reason: "not the answer of a sidecar"}
	}
	return res.StatusCode, said, nil
}

package app

import (
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
	status, reason, err := askProbe(ctx, reachable(admin), probes[o.Args[0]])
	if err != nil {
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: no answer from %s (SIDECAR_ADMIN_LISTEN): %v\n", admin, err)
		return exitFailed
	}
	_, _ = fmt.Fprintf(o.Stdout, "%d %s\n", status, reason)
	if status != http.StatusOK {
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

// askProbe makes the call. It goes straight there: HTTP_PROXY means other calls.
func askProbe(ctx context.Context, address, path string) (status int, reason string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, "", err
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(r)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	var said struct {
		Reason string `json:"reason"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 4<<10)).Decode(&said); err != nil {
		said.Reason = "no reason was given"
	}
	return res.StatusCode, said.Reason, nil
}

//go:build !windows

package service

import "context"

// Run carries out work as the service of that name and returns its exit code.
// systemd and launchd want no more of a process than that it heeds SIGTERM, which
// ends ctx, and take its standard error as the log; what systemd is told beyond that,
// it is told by the work itself.
func Run(ctx context.Context, _ string, work Work) (int, error) {
	return work(ctx, Life{Ready: func() {}}), nil
}

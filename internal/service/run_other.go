//go:build !windows

package service

import (
	"context"
	"io"
)

// Run carries out work as the service of that name and returns its exit code. work
// calls ready when it serves. systemd and launchd want no more of a process than that
// it heeds SIGTERM, which ends ctx; what systemd is told beyond that, it is told by
// the work itself.
func Run(ctx context.Context, _ string, work func(ctx context.Context, ready func()) int) (int, error) {
	return work(ctx, func() {}), nil
}

// SystemLog is nil where the standard error goes to the system's log by itself.
func SystemLog(string) (io.WriteCloser, error) { return nil, nil }

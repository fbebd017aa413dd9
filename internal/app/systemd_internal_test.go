package app

import (
	"bytes"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"
)

// A service manager that reads nothing holds nobody up: its queue is full soon, and
// the end would never begin.
func TestFullNotifySocket(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("systemd is Linux's")
	}
	path := socketName(t)
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	var log bytes.Buffer
	told := make(chan struct{})
	go func() {
		defer close(told)
		for range 10_000 { // more than any queue holds
			if tellSystemd(slog.New(slog.NewTextHandler(&log, nil)), "WATCHDOG=1"); log.Len() > 0 {
				return
			}
		}
	}()
	select {
	case <-told:
	case <-time.After(10 * tellTime):
		t.Fatal("it waits for who never reads")
	}
	if !strings.Contains(log.String(), "can't be told") {
		t.Errorf("log %q", &log)
	}
	first := make([]byte, 100)
	if n, err := manager.Read(first); err != nil || string(first[:n]) != "WATCHDOG=1" {
		t.Errorf("%q, %v", first[:n], err)
	}
}

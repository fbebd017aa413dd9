package app

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// tellTime is how long a service manager may take to be told: one whose queue is full
// must not hold up what it is told of.
const tellTime = time.Second

// tellSystemd tells a service manager how things stand (sd_notify(3)); where there is
// none, nothing.
func tellSystemd(log *slog.Logger, state string) {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return
	}
	if err := notify(socket, state); err != nil {
		log.Warn("systemd can't be told", "cause", err)
	}
}

// notify is daemon.SdNotify with a limit of its time.
func notify(socket, state string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetWriteDeadline(time.Now().Add(tellTime)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(state))
	return err
}

// stopping is what systemd is told at the beginning of the end: it must not lose
// patience before the longest delay is over.
func stopping(most time.Duration) string {
	return fmt.Sprintf("%s\nEXTEND_TIMEOUT_USEC=%d", daemon.SdNotifyStopping, (most + 5*time.Second).Microseconds())
}

// watchdog tells systemd twice in each WatchdogSec= that the process runs, until it
// has ended. A process that hangs is started anew.
func watchdog(ended <-chan struct{}, log *slog.Logger) {
	within, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("systemd's watchdog can't be served", "cause", err)
	}
	if err != nil || within <= 0 {
		return
	}
	beat := time.NewTicker(within / 2)
	defer beat.Stop()
	for {
		tellSystemd(log, daemon.SdNotifyWatchdog)
		select {
		case <-beat.C:
		case <-ended:
			return
		}
	}
}

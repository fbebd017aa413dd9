package store

import (
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/zalando/go-keyring"
)

// system is the operating system's key store: Credential Manager on Windows,
// Keychain on macOS, the Secret Service of the session's D-Bus elsewhere.
type system struct{}

func (system) Set(service, item, secret string) error   { return keyring.Set(service, item, secret) }
func (system) Get(service, item string) (string, error) { return keyring.Get(service, item) }
func (system) Delete(service, item string) error        { return keyring.Delete(service, item) }
func (system) DeleteAll(service string) error           { return keyring.DeleteAll(service) }

const busVariable = "DBUS_SESSION_BUS_ADDRESS"

// useOwnBus names the bus of the user's session where the environment does not.
// Without a name the library would launch a bus of its own, which nobody ends
// and on which nobody has unlocked anything.
func useOwnBus() error {
	if address := os.Getenv(busVariable); runtime.GOOS == "windows" || runtime.GOOS == "darwin" || address != "" && address != "autolaunch:" {
		return nil
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if dir == "" {
		dir = filepath.Join("/run/user", strconv.Itoa(os.Getuid()))
	}
	return os.Setenv(busVariable, "unix:path="+filepath.Join(dir, "bus"))
}

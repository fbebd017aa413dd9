//go:build unix

package tenantmap

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A pipe in a file's place holds nobody up.
func TestPipeInAFilesPlace(t *testing.T) {
	path := writeFile(t, sample)
	files, err := look(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Skip(err)
	}
	if content, err := files[0].open(); err == nil {
		_ = content.Close()
		t.Error("a pipe was opened")
	}
}

// Whoever may read the registry before can read it after somebody with more rights wrote to it.
func TestOwnerStays(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root gives files away")
	}
	path := writeFile(t, sample)
	const nobody = 65534
	if err := os.Chown(path, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	if err := addTenant(path, "further"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t); owner.Uid != nobody || owner.Gid != nobody || info.Mode().Perm() != 0o600 {
		t.Errorf("it belongs to %d:%d, mode %o", owner.Uid, owner.Gid, info.Mode().Perm())
	}
}

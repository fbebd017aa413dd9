//go:build unix

package tenantmap

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// withoutWaiting opens a pipe without waiting for its other end.
const withoutWaiting = unix.O_NONBLOCK

// lock keeps other editors away from the folder of the registry at path, until unlock. It lies on the folder itself, so
// that there is no further file that could be anything else. It ends with the process, however that ends.
func lock(path string) (unlock func(), err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	folder := filepath.Dir(path)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		folder = path
	}
	dir, err := os.Open(folder)
	if err != nil {
		return nil, err
	}
	switch err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return nil, errors.Join(ErrChanged, dir.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("locking %s: %w", folder, err), dir.Close())
	}
	return func() { _ = dir.Close() }, nil
}

// keepOwner gives a file to the owner of another: somebody with more rights may write the registry, and the sidecar,
// with fewer, must still be able to read it.
func keepOwner(w *os.File, of os.FileInfo) error {
	now, err := w.Stat()
	if err != nil {
		return err
	}
	mine, ok := now.Sys().(*syscall.Stat_t)
	theirs, there := of.Sys().(*syscall.Stat_t)
	if !ok || !there || mine.Uid == theirs.Uid && mine.Gid == theirs.Gid {
		return nil
	}
	if err := w.Chown(int(theirs.Uid), int(theirs.Gid)); err != nil {
		return fmt.Errorf("the file's owner can't be kept; run this as its owner: %w", err)
	}
	return nil
}

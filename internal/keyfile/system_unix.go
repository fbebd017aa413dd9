//go:build unix

package keyfile

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func lockFile(w *os.File) error {
	for {
		err := unix.Flock(int(w.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrBusy
		default:
			return fmt.Errorf("locking the key file: %w", err)
		}
	}
}

// noFollow opens no link, and does not wait for the other end of a pipe.
const noFollow = unix.O_NOFOLLOW | unix.O_NONBLOCK

// alone refuses what is no file, or a file that has another name as well.
func alone(w *os.File) error {
	info, err := w.Stat()
	if err != nil {
		return err
	}
	if sys, ok := info.Sys().(*syscall.Stat_t); !info.Mode().IsRegular() || ok && sys.Nlink != 1 {
		return fmt.Errorf("%s is not a lock file; remove it", w.Name())
	}
	return nil
}

// keepOwner gives a file to the owner of another. Somebody with more rights may rotate the key; the sidecar, with fewer,
// must still be able to read it.
func keepOwner(w *os.File, of os.FileInfo) error {
	now, err := w.Stat()
	if err != nil {
		return err
	}
	mine, ok1 := now.Sys().(*syscall.Stat_t)
	theirs, ok2 := of.Sys().(*syscall.Stat_t)
	if !ok1 || !ok2 || mine.Uid == theirs.Uid && mine.Gid == theirs.Gid {
		return nil
	}
	if err := w.Chown(int(theirs.Uid), int(theirs.Gid)); err != nil {
		return fmt.Errorf("the file's owner can't be kept; run this as its owner: %w", err)
	}
	return nil
}

// syncFolder makes a new name in a folder durable.
func syncFolder(folder string) error {
	d, err := os.Open(folder)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil // a file system that can't; it has no more to offer
	}
	return errors.Join(err, d.Close())
}

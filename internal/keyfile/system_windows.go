package keyfile

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

func lockFile(w *os.File) error {
	err := windows.LockFileEx(windows.Handle(w.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrBusy
	}
	if err != nil {
		return fmt.Errorf("locking the key file: %w", err)
	}
	return nil
}

// noFollow has no meaning: to make a link takes rights of its own, and nothing changes its owner here.
const noFollow = 0

func alone(*os.File) error { return nil }

// keepOwner has nothing to do: a file inherits who may read it from its folder.
func keepOwner(*os.File, os.FileInfo) error { return nil }

// syncFolder has nothing to do: Windows has no such thing.
func syncFolder(string) error { return nil }

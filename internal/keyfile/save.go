package keyfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// writable reports whether the folder takes a new file, and takes away what a run that crashed left there.
func (f *file) writable() error {
	before, behind, _ := strings.Cut(f.base(), "*")
	folder := filepath.Dir(f.path)
	left, _ := os.ReadDir(folder)
	for _, entry := range left {
		random, ours := strings.CutPrefix(entry.Name(), before)
		random, whole := strings.CutSuffix(random, behind)
		if ours && whole && random != "" && strings.Trim(random, "0123456789") == "" {
			_ = os.Remove(filepath.Join(folder, entry.Name()))
		}
	}
	w, err := os.CreateTemp(filepath.Dir(f.path), f.base())
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrReadOnly, err)
	}
	_ = w.Close()
	return os.Remove(w.Name())
}

// base is the name of our temporary files, beside the file itself: a rename moves nothing across file systems. It says
// whose they are, since a folder may hold several key files. (A * in the file's name would be taken for the random part.)
func (f *file) base() string {
	return ".sidecar-key-" + strings.ReplaceAll(filepath.Base(f.path), "*", "_") + "-*.tmp"
}

// save puts keys in place of those that were read: written beside, to the disk, and then renamed, so that whoever reads
// finds all of the one or all of the other. Mode and owner stay.
func (f *file) save(keys []Key) error {
	raw, err := compose(keys)
	if err != nil {
		return err
	}
	if !f.unchanged() {
		return ErrChanged
	}
	w, err := os.CreateTemp(filepath.Dir(f.path), f.base()) // with mode 0600
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrReadOnly, err)
	}
	if err := f.replace(w, raw); err != nil {
		_ = os.Remove(w.Name())
		return fmt.Errorf("writing the key file: %w", err)
	}
	f.content, f.keys = raw, keys
	return nil
}

func (f *file) replace(w *os.File, raw []byte) error {
	err := errors.Join(keepOwner(w, f.info), w.Chmod(f.info.Mode().Perm()))
	if err != nil {
		return errors.Join(err, w.Close())
	}
	if err := fill(w, raw); err != nil {
		return err
	}
	if err := os.Rename(w.Name(), f.path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(f.path))
}

// lock keeps other processes from changing a key file, until unlock. The operating system opens the lock when a process
// ends, however it ends. The file that it lies on stays: removing it would let two have a lock each.
func lock(path string) (unlock func(), err error) {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("reading the key file: %w", err)
	}
	info, err := os.Stat(real)
	if err != nil {
		return nil, fmt.Errorf("reading the key file: %w", err)
	}
	w, err := openLock(real+".lock", info)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrReadOnly, err)
	}
	if err := lockFile(w); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return func() { _ = w.Close() }, nil
}

// openLock opens a lock file, or makes one for the owner of another file. Whoever may write into the folder can put
// anything there under that name: what we did not make is not followed, not waited for, and never given to anybody.
func openLock(path string, of os.FileInfo) (*os.File, error) {
	w, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		if err := keepOwner(w, of); err != nil {
			return nil, errors.Join(err, w.Close(), os.Remove(path))
		}
		return w, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if w, err = os.OpenFile(path, os.O_RDWR|noFollow, 0); err != nil {
		return nil, err
	}
	if err := alone(w); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

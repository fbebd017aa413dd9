package keyfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// writable reports whether the folder takes a new file, and takes away what a run that crashed left there.
func (f *file) writable() error {
	left, _ := filepath.Glob(f.pattern()) // the pattern is well formed: see there
	for _, path := range left {
		_ = os.Remove(path)
	}
	w, err := os.CreateTemp(filepath.Dir(f.path), f.base())
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrReadOnly, err)
	}
	_ = w.Close()
	return os.Remove(w.Name())
}

// base is the name of our temporary files, beside the file itself: a rename moves nothing across file systems.
func (f *file) base() string { return ".sidecar-key-*.tmp" }

// pattern matches them.
func (f *file) pattern() string { return escapeGlob(filepath.Dir(f.path)) + "/" + f.base() }

// escapeGlob takes the meaning from the characters of a folder's name.
func escapeGlob(folder string) string {
	var escaped []byte
	for _, c := range []byte(filepath.ToSlash(folder)) {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			escaped = append(escaped, '[', c, ']')
			continue
		}
		escaped = append(escaped, c)
	}
	return string(escaped)
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
	w, err := os.OpenFile(real+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrReadOnly, err)
	}
	if info, err := os.Stat(real); err == nil {
		_ = keepOwner(w, info) // or the file's owner could not lock it next time
	}
	if err := lockFile(w); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return func() { _ = w.Close() }, nil
}

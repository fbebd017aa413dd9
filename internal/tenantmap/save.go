package tenantmap

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Save writes what was changed: each file to a new one beside it, which then takes its place, with its mode. Links stay
// links, and an owner stays the owner. If any file was changed meanwhile by somebody else, or is being changed right now,
// nothing is written (ErrChanged).
func (e *Editor) Save() error {
	unlock, err := lock(e.path)
	if err != nil {
		return err
	}
	defer unlock()
	for _, t := range e.texts {
		if err := t.unchanged(); err != nil {
			return err
		}
	}
	for _, t := range e.texts {
		if bytes.Equal(t.content, t.before) && t.mode != 0 {
			continue
		}
		if err := t.write(); err != nil {
			return fmt.Errorf("writing %s: %w", t.name, err)
		}
		t.before = t.content
	}
	return nil
}

// unchanged reports what happened to a file since it was read.
func (t *text) unchanged() error {
	now, err := os.ReadFile(t.name)
	switch {
	case t.mode == 0 && errors.Is(err, fs.ErrNotExist):
		return nil
	case t.mode == 0 && err == nil, err == nil && !bytes.Equal(now, t.before), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", t.name, ErrChanged)
	case err != nil:
		return fmt.Errorf("reading %s again: %w", t.name, err)
	}
	return nil
}

// write puts the content in the file's place, all of it or nothing.
func (t *text) write() (err error) {
	target := t.name
	if t.mode != 0 {
		if target, err = filepath.EvalSymlinks(t.name); err != nil {
			return err
		}
	}
	folder := filepath.Dir(target)
	beside, err := os.CreateTemp(folder, ".tenants-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(beside.Name())
		}
	}()
	mode := t.mode
	if mode == 0 {
		mode = 0o640
	}
	_, err = beside.Write(t.content)
	if t.owner != nil {
		err = errors.Join(err, keepOwner(beside, t.owner)) // before the mode, which a new owner would take away from
	}
	err = errors.Join(err, beside.Chmod(mode), beside.Sync(), beside.Close())
	if err != nil {
		return err
	}
	if err = t.unchanged(); err != nil {
		return err
	}
	if err = os.Rename(beside.Name(), target); err != nil {
		return err
	}
	t.mode = mode
	syncFolder(folder)
	return nil
}

// syncFolder makes a rename outlast a loss of power, where the system can do that with folders.
func syncFolder(folder string) {
	if dir, err := os.Open(folder); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
}

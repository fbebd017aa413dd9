package service

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// The size of a service's log: a file is put aside at maxLog bytes, and keptLogs
// of those are kept, so that the whole is never more than 60 MiB.
const (
	maxLog   = 10 << 20
	keptLogs = 5
)

// Log is a log file that is rotated by size: FILE is put aside as FILE.1, that as
// FILE.2 and so on. It may be used by several goroutines.
type Log struct {
	path string
	max  int64
	kept int

	mu     sync.Mutex // guards what follows
	file   *os.File   // nil: could not be opened again, or closed
	closed bool
	size   int64
	next   int64 // rotated above this size
}

// OpenLog opens a log file for appending, and makes it and its folder where they
// are missing. A file that it makes is the owner's alone to write and read (0600).
func OpenLog(name string) (*Log, error) { return openLog(name, maxLog, keptLogs) }

func openLog(name string, most int64, kept int) (*Log, error) {
	l := &Log{path: name, max: most, kept: kept}
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		return nil, fmt.Errorf("making the log's folder: %w", err)
	}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *Log) open() error {
	file, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return fmt.Errorf("opening the log: %w", err)
	}
	l.file, l.size, l.next = file, info.Size(), l.max
	return nil
}

// Write appends p, which is never torn apart between two files. A file that could
// not be opened after its rotation is tried again: the trouble may have passed.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, os.ErrClosed
	}
	if l.file == nil {
		if err := l.open(); err != nil {
			return 0, err
		}
	}
	if l.size > 0 && l.size+int64(len(p)) > l.next {
		if err := l.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	return n, err
}

// rotate puts the file aside. Where that can't be done (on Windows somebody may
// have it open), it goes on growing, and is tried again a tenth later: a log that
// is too long is better than none.
func (l *Log) rotate() error {
	l.file.Close() // Windows moves no file that is open
	l.file = nil
	err := l.putAside()
	if openErr := l.open(); openErr != nil {
		return openErr
	}
	if err != nil {
		l.next = l.size + l.max/10
	}
	return nil
}

// putAside moves the file itself first, and then no more of the kept ones than up
// to the first gap: where it can't be moved, none of them is lost for nothing.
func (l *Log) putAside() error {
	if err := os.Rename(l.path, l.aside(0)); err != nil {
		return err
	}
	gap := 1
	for gap < l.kept && there(l.aside(gap)) {
		gap++
	}
	for n := gap; n > 0; n-- {
		if err := os.Rename(l.aside(n-1), l.aside(n)); err != nil {
			_ = os.Rename(l.aside(0), l.path)
			return err
		}
	}
	return nil
}

func there(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func (l *Log) aside(n int) string { return l.path + "." + strconv.Itoa(n) }

// Close closes the file; what is written later is lost.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

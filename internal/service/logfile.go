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

	mu   sync.Mutex // guards what follows
	file *os.File
	size int64
	next int64 // rotated above this size
}

// OpenLog opens a log file for appending, and makes it and its folder where they
// are missing. The file is the owner's alone to write and read (0600).
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

// Write appends p, which is never torn apart between two files.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return 0, os.ErrClosed
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
	l.file.Close()
	l.file = nil
	for n := l.kept - 1; n > 0; n-- {
		_ = os.Rename(l.aside(n), l.aside(n+1)) // one may be missing
	}
	err := os.Rename(l.path, l.aside(1))
	if openErr := l.open(); openErr != nil {
		return openErr
	}
	if err != nil {
		l.next = l.size + l.max/10
	}
	return nil
}

func (l *Log) aside(n int) string { return l.path + "." + strconv.Itoa(n) }

// Close closes the file; what is written later is lost.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return nil
	}
	err := l.file.Close()
	l.file = nil
	return err
}

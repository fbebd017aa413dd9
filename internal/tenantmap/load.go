package tenantmap

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// maxBytes bounds a registry, all files together. A hundred thousand tenants with their journals are some 30 MB.
	maxBytes = 64 << 20
	// maxFiles bounds how many files a directory may hold.
	maxFiles = 10000
	// maxWhole is the largest file that is read in one go. The library makes some eighty bytes of every byte.
	maxWhole = 1 << 20
	// attempts is how often a registry is read that changes while it is read.
	attempts = 3
)

// Loader reads registries.
type Loader struct {
	// CheckDigit says what happens to an organization number whose check digit is wrong: "strict" makes it a fault. If
	// empty or "warn", nothing.
	CheckDigit string

	whole int64 // in place of maxWhole, for tests
	begun bool  // a file may say nothing: it is about to be filled
	// meanwhile, if not nil, is called when all is read and not yet believed, for tests.
	meanwhile func()
}

// digest tells one content of a registry from another.
type digest [sha256.Size]byte

// Load reads the registry at path, as the function [Load] does.
func (l Loader) Load(path string) (*Registry, error) {
	for range attempts {
		before, err := look(path)
		if err != nil {
			return nil, err
		}
		r, err := l.read(before)
		if l.meanwhile != nil {
			l.meanwhile()
		}
		after, gone := look(path)
		if gone == nil && before.same(after) {
			return r, err
		}
	}
	return nil, passing{Faults{{Position{File: path}, "is changed again and again while it is read", "write to another file, and rename that"}}}
}

// read reads the files of a look.
func (l Loader) read(files []file) (*Registry, error) {
	b := newBuilder()
	sum := sha256.New()
	for i, f := range files {
		b.names = append(b.names, f.name)
		if err := l.readFile(i, f, b, sum); err != nil {
			return nil, passing{Faults{unreadable(f.name, err)}}
		}
	}
	r, faults := b.finish()
	if len(faults) > 0 {
		return nil, faults
	}
	sum.Sum(r.digest[:0])
	r.loaded = time.Now()
	return r, nil
}

// readFile reads one file into b, and its content into sum.
func (l Loader) readFile(index int, f file, b *builder, sum io.Writer) error {
	content, err := f.open()
	if err != nil {
		return err
	}
	defer content.Close()
	begin(sum, f)
	return l.readContent(index, f.name, f.info.Size(), io.TeeReader(io.LimitReader(content, maxBytes), sum), b)
}

// readContent reads what a file of that size holds.
func (l Loader) readContent(index int, name string, size int64, source io.Reader, b *builder) error {
	whole := l.whole
	if whole == 0 {
		whole = maxWhole
	}
	if size <= whole {
		text, err := io.ReadAll(io.LimitReader(source, size+1)) // no more, should it grow meanwhile
		if err != nil {
			return err
		}
		d := l.decoder(index, name, 0)
		d.readWhole(bytes.TrimPrefix(text, []byte("\uFEFF")))
		if d.out.empty && !l.begun && len(d.out.faults) == 0 {
			d.faultAt(1, 1, "says nothing", "write journals and tenants, as docs/tenants.md shows")
		}
		b.add(d.out)
		return nil
	}
	return l.readPieces(index, name, b, source)
}

func (l Loader) decoder(file int, name string, above int) *decoder {
	return &decoder{file: file, name: name, above: above, strict: l.CheckDigit == "strict", out: new(part), same: make(map[string]string)}
}

// readPieces reads a file on all processors and adds the parts in the file's order.
func (l Loader) readPieces(index int, name string, b *builder, source io.Reader) error {
	workers := runtime.GOMAXPROCS(0)
	queue := make(chan func(), workers)
	done := make(chan chan *part, 2*workers) // in order; how far the readers may be ahead
	var enough atomic.Bool                   // so many faults that nobody wants to know more
	var readers, adder errgroup.Group
	for range workers {
		readers.Go(func() error {
			for work := range queue {
				work()
			}
			return nil
		})
	}
	adder.Go(func() error {
		for one := range done {
			b.add(<-one)
			enough.Store(len(b.faults) > maxFaults)
		}
		return nil
	})
	err := split(source, func(p piece) error {
		if enough.Load() {
			return errEnough
		}
		one := make(chan *part, 1)
		done <- one
		queue <- func() {
			d := l.decoder(index, name, p.line-1)
			d.readPiece(p)
			one <- d.out
		}
		return nil
	})
	close(queue)
	_ = readers.Wait()
	close(done)
	_ = adder.Wait()
	if odd, ok := errors.AsType[*irregular](err); ok {
		d := l.decoder(index, name, 0)
		d.faultAt(odd.line, 1, "this line "+odd.reason, cmp.Or(odd.mend, fmt.Sprintf(
			"in a file of more than %d MiB write journals: and tenants: on lines of their own, everything below them indented alike, and no item of more than 1 MiB", maxWhole>>20)))
		b.add(d.out)
		return nil
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// errEnough ends the reading of a file that is wrong all over.
var errEnough = errors.New("more faults than are told of")

// file is one file of a registry, as it was found.
type file struct {
	name string
	info os.FileInfo
}

// open opens the file, if it is still the one that was found. What took its place may be no file at all, and is not
// waited for.
func (f file) open() (io.ReadCloser, error) {
	content, err := os.OpenFile(f.name, os.O_RDONLY|withoutWaiting, 0)
	if err != nil {
		return nil, err
	}
	info, err := content.Stat()
	if err == nil && (!info.Mode().IsRegular() || !os.SameFile(info, f.info)) {
		err = errors.New("it was exchanged in this moment")
	}
	if err != nil {
		return nil, errors.Join(err, content.Close())
	}
	return content, nil
}

// found is the files of a registry at one moment.
type found []file

// same reports whether nothing was changed between two looks. It sees the files themselves, not the links that lead to
// them: where Kubernetes exchanges a link, all files are others.
func (f found) same(other found) bool {
	if len(f) != len(other) {
		return false
	}
	for i, a := range f {
		b := other[i]
		if a.name != b.name || !os.SameFile(a.info, b.info) || a.info.Size() != b.info.Size() || !a.info.ModTime().Equal(b.info.ModTime()) {
			return false
		}
	}
	return true
}

// look finds the files of the registry at path. Its error is [Faults].
func look(path string) (found, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, passing{Faults{unreadable(path, err)}}
	}
	if !info.IsDir() {
		return sized(path, found{{path, info}})
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, passing{Faults{unreadable(path, err)}}
	}
	var all found
	for _, entry := range entries {
		name := entry.Name()
		ending := filepath.Ext(name)
		if strings.HasPrefix(name, ".") || ending != ".yaml" && ending != ".yml" {
			continue // among them ..data, through which Kubernetes leads
		}
		name = filepath.Join(path, name)
		info, err := os.Stat(name)
		if err != nil {
			return nil, passing{Faults{unreadable(name, err)}}
		}
		if !info.IsDir() {
			all = append(all, file{name, info})
		}
	}
	if len(all) == 0 {
		return nil, Faults{{Position: Position{File: path}, Message: "is a directory without a registry", Mend: "put a file into it whose name ends in .yaml or .yml"}}
	}
	return sized(path, all)
}

// sized refuses what is too much, or no file.
func sized(path string, all found) (found, error) {
	var bytes int64
	for _, f := range all {
		if !f.info.Mode().IsRegular() {
			return nil, Faults{{Position: Position{File: f.name}, Message: "is not a file", Mend: "name a file, or a directory of files"}}
		}
		bytes += f.info.Size()
	}
	if bytes > maxBytes || len(all) > maxFiles {
		return nil, Faults{{
			Position: Position{File: path}, Message: "is too large",
			Mend: fmt.Sprintf("write at most %d MiB in at most %d files", maxBytes>>20, maxFiles),
		}}
	}
	return all, nil
}

// passing is an error that says nothing of the content: the same may be read well in a moment.
type passing struct{ Faults }

// Unwrap returns the faults.
func (p passing) Unwrap() error { return p.Faults }

func unreadable(name string, err error) Fault {
	reason := err
	if path, ok := errors.AsType[*os.PathError](err); ok {
		reason = path.Err
	}
	return Fault{Position{File: name}, "can't be read: " + reason.Error(), "name a file or directory that the sidecar may read (TENANTS_FILE)"}
}

// begin sets a file's name and size before its content, so that no two registries have the same digest.
func begin(sum io.Writer, f file) {
	_, _ = fmt.Fprintf(sum, "%q %d\n", f.name, f.info.Size())
}

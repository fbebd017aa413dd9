package tenantmap

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"time"
)

// Watch reads the registry at path again and again until ctx ends, as [Loader.Watch] does.
func Watch(ctx context.Context, path string, every time.Duration, take func(*Registry, error)) {
	Loader{}.Watch(ctx, path, nil, every, take)
}

// Watch looks at the registry at path again and again until ctx ends, and hands over what it came to say: a new
// registry, or the [Faults] of a content that can't be used. Each content is handed over once. What now says, if not
// nil, was taken up before. What can't be read at all is told once, and tried again at every look.
//
// Files are read, not watched: that works on every file system, and when Kubernetes exchanges the link that leads to
// them. A new content is taken up once it was the same at two looks in a row, so that a file that somebody is writing is
// never seen half.
func (l Loader) Watch(ctx context.Context, path string, now *Registry, every time.Duration, take func(*Registry, error)) {
	var taken, pending digest
	told := "" // why nothing could be read
	if now != nil {
		taken = now.digest
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		seen := glance(path)
		switch {
		case seen == taken:
			pending = digest{}
		case seen != pending:
			pending = seen
		default:
			r, err := l.Load(path)
			if passes, ok := errors.AsType[passing](err); ok {
				taken = digest{} // whatever comes next is news
				if reason := passes.Error(); reason != told {
					told = reason
					take(nil, err)
				}
				continue
			}
			if err == nil {
				seen = r.digest
			}
			if seen != pending {
				pending = seen // changed in this very moment: look again
				continue
			}
			taken, pending, told = seen, digest{}, ""
			take(r, err)
		}
	}
}

// glance is the digest of what is at path; where it can't be read, of the reason.
func glance(path string) digest {
	files, err := look(path)
	if err == nil {
		var seen digest
		if seen, err = files.digest(); err == nil {
			return seen
		}
	}
	return sha256.Sum256([]byte("unreadable: " + err.Error()))
}

// digest reads the files' contents.
func (f found) digest() (digest, error) {
	sum := sha256.New()
	for _, one := range f {
		if err := one.copy(sum); err != nil {
			return digest{}, passing{Faults{unreadable(one.name, err)}}
		}
	}
	return digest(sum.Sum(nil)), nil
}

func (f file) copy(sum io.Writer) error {
	content, err := f.open()
	if err != nil {
		return err
	}
	defer content.Close()
	begin(sum, f)
	_, err = io.Copy(sum, io.LimitReader(content, maxBytes))
	return err
}

package tenantmap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sfm-sidecar/internal/journal"
)

// What only some programs take for a line end could hide a tenant in what looks like a comment.
func TestForeignLineEnds(t *testing.T) {
	hidden := "  evil: {parent: \"310000000\", journal: 7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35}\n"
	for name, content := range map[string]string{
		"next line":           with("tenants:\n", "tenants: # see\u0085"+hidden),
		"line separator":      with("tenants:\n", "tenants:\n  # see\u2028"+hidden),
		"paragraph separator": with("tenants:\n", "tenants:\n  # see\u2029"+hidden),
		"old Macs":            with("tenants:\n", "tenants:\n  # see\r"+hidden),
		"carriage returns":    strings.ReplaceAll(sample, "\n", "\r"),
		"UTF-16":              "\xff\xfe" + strings.Join(strings.Split(sample, ""), "\x00"),
		"a tag of no name":    with(`parent: "100100126", child`, "parent: ! 100100126, child"),
	} {
		for _, whole := range []int64{0, 1} { // in one go, and in pieces
			if r, err := (Loader{whole: whole}).Load(writeFile(t, content)); err == nil {
				t.Errorf("%s, whole %d: %d tenants", name, whole, r.Len())
			} else if _, ok := errors.AsType[Faults](err); !ok || strings.Contains(err.Error(), "evil") {
				t.Errorf("%s, whole %d: %v", name, whole, err)
			}
		}
	}
}

// A repeated id is shown where it stands, and where it stands for the first time.
func TestRepeatedIDs(t *testing.T) {
	const first, second = "7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35", "5f3a0001-0000-4000-8000-00000a11ce00"
	const alias = "ce75db36-c57b-4592-9d47-5dfae8a34340"
	text := "journals:\n  - id: " + first + "\n    aliases:\n      - 0b1d6a5e-3c47-4f0a-8d55-52a0c1b7e901\n      - " + alias +
		"\n  - id: " + second + "\n    aliases:\n      - 0b1d6a5e-3c47-4f0a-8d55-52a0c1b7e902\n      - " + alias + "\n"
	_, err := Load(writeFile(t, text))
	if err == nil || !strings.Contains(err.Error(), ":9:9: the journal-id "+alias+" is already used in ") || !strings.Contains(err.Error(), ", line 5;") {
		t.Error(err)
	}
}

// A file that is wrong all over is not read to its end.
func TestWrongAllOver(t *testing.T) {
	for name, item := range map[string]string{"journals": "- {}\n", "text": "- a\n", "tenants": " a%d: 0\n"} {
		var text strings.Builder
		text.WriteString(map[bool]string{true: "tenants:\n", false: "journals:\n"}[name == "tenants"])
		for i := 0; text.Len() < 8<<20; i++ {
			if name == "tenants" {
				fmt.Fprintf(&text, item, i)
				continue
			}
			text.WriteString(item)
		}
		path := writeFile(t, text.String())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := Load(path); err == nil {
			t.Errorf("%s: it was taken", name)
		}
		runtime.ReadMemStats(&after)
		if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 300 { // all of it would be more than 500
			t.Errorf("%s: %d MiB were allocated", name, used)
		}
	}
}

// What can't be read for a moment is told once, and read when it can be.
func TestWatchTriesAgain(t *testing.T) {
	path := writeFile(t, sample)
	now, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(with("  sentrum:", "  senter:")), 0o600); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	touches, moment := 9, time.Now()
	l := Loader{meanwhile: func() {
		mu.Lock()
		defer mu.Unlock()
		if touches--; touches >= 0 {
			moment = moment.Add(time.Hour)
			if err := os.Chtimes(path, moment, moment); err != nil {
				t.Error(err)
			}
		}
	}}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var told []string
		var loaded *Registry
		go l.Watch(ctx, path, now, time.Second, func(r *Registry, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				told = append(told, err.Error())
				return
			}
			loaded = r
		})
		time.Sleep(10 * time.Second) // looks, each of three attempts
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if len(told) != 1 || !strings.Contains(told[0], "again and again") {
			t.Errorf("told: %q", told)
		}
		if loaded == nil {
			t.Fatal("the new registry was never taken up")
		}
		if _, ok := loaded.Tenant("senter"); !ok {
			t.Error("it is another registry")
		}
	})
}

// Of many that write at the same time none loses what another was told is written.
func TestEditorsAtOnce(t *testing.T) {
	path := writeFile(t, sample)
	const editors, each = 4, 8
	var all sync.WaitGroup
	for e := range editors {
		all.Go(func() {
			for i := range each {
				alias := fmt.Sprintf("e%d-%d", e, i)
				for {
					err := addTenant(path, alias)
					if err == nil {
						break
					}
					if !errors.Is(err, ErrChanged) {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	all.Wait()
	r, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for e := range editors {
		for i := range each {
			if _, ok := r.Tenant(fmt.Sprintf("e%d-%d", e, i)); !ok {
				t.Errorf("e%d-%d was written and is not there", e, i)
			}
		}
	}
}

func addTenant(path, alias string) error {
	e, err := Edit(path)
	if err != nil {
		return err
	}
	set := e.Registry().Set()
	child := fmt.Sprintf("9%08d", len(set.Tenants))
	if err := e.AddTenant(journal.Tenant{Alias: alias, Parent: set.Tenants[0].Parent, Child: child, Journal: set.Journals[0].ID}); err != nil {
		return err
	}
	return e.Save()
}

// What took a file's place is neither read nor waited for.
func TestExchangedFile(t *testing.T) {
	path := writeFile(t, sample)
	files, err := look(path)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(filepath.Dir(path), "other.yaml")
	if err := errors.Join(os.WriteFile(other, []byte(sample), 0o600), os.Rename(other, path)); err != nil {
		t.Fatal(err)
	}
	if content, err := files[0].open(); err == nil {
		_ = content.Close()
		t.Error("another file was opened")
	}
}

package tenantmap

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// watched is what a Watch handed over.
type watched struct {
	loaded []*Registry
	errs   []string
}

// note keeps what was handed over until now.
func (w *watched) note(taken <-chan any) {
	for {
		select {
		case one := <-taken:
			switch one := one.(type) {
			case *Registry:
				w.loaded = append(w.loaded, one)
			case error:
				w.errs = append(w.errs, one.Error())
			}
		default:
			return
		}
	}
}

// watch runs a Watch in a bubble; looks lets so many of its looks go by.
func watch(t *testing.T, path string, test func(t *testing.T, w *watched, looks func(int))) {
	t.Helper()
	now, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var w watched
		taken := make(chan any, 100)
		go Loader{}.Watch(ctx, path, now, time.Second, func(r *Registry, err error) {
			if err != nil {
				taken <- err
				return
			}
			taken <- r
		})
		time.Sleep(time.Second / 2) // looks are at whole seconds, changes between them
		test(t, &w, func(n int) {
			time.Sleep(time.Duration(n) * time.Second)
			synctest.Wait()
			w.note(taken)
		})
	})
}

func replace(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func (w *watched) expect(t *testing.T, loaded, broken int) {
	t.Helper()
	if len(w.loaded) != loaded || len(w.errs) != broken {
		t.Fatalf("%d loaded, %d broken, want %d and %d: %q", len(w.loaded), len(w.errs), loaded, broken, w.errs)
	}
}

const second = `  nord: {parent: "100100126", journal: 7fbfbcbd-6f08-4e95-9f7a-9d69c40f6a35}` + "\n"

func TestWatch(t *testing.T) {
	path := writeFile(t, sample)
	watch(t, path, func(t *testing.T, w *watched, looks func(int)) {
		looks(5)
		w.expect(t, 0, 0) // nothing new
		replace(t, path, sample+second)
		looks(1)
		w.expect(t, 0, 0) // seen once: somebody may still be writing
		looks(1)
		w.expect(t, 1, 0)
		if w.loaded[0].Len() != 2 {
			t.Errorf("%d tenants", w.loaded[0].Len())
		}
		replace(t, path, sample+"nonsense")
		looks(6)
		w.expect(t, 1, 1) // told once
		if !strings.Contains(w.errs[0], "tenants.yaml:") {
			t.Errorf("got %s", w.errs[0])
		}
		replace(t, path, sample+second) // what was there before
		looks(2)
		w.expect(t, 2, 1)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		looks(6)
		w.expect(t, 2, 2)
		replace(t, path, sample+second)
		looks(6)
		w.expect(t, 3, 2)
	})
}

// TestWatchHalf writes a file bit by bit, as a copy over a slow network does. Every state of it is a good registry.
func TestWatchHalf(t *testing.T) {
	path := writeFile(t, sample)
	watch(t, path, func(t *testing.T, w *watched, looks func(int)) {
		journals, _, _ := strings.Cut(sample, "tenants:")
		for _, half := range []string{"", journals, journals + "tenants:\n", sample} {
			if err := os.WriteFile(path, []byte(half), 0o600); err != nil {
				t.Fatal(err)
			}
			looks(1)
		}
		looks(5)
		w.expect(t, 0, 0) // in the end it is what it was
		for i := range 5 {
			if err := os.WriteFile(path, []byte(sample+strings.Repeat("# growing\n", i)+second), 0o600); err != nil {
				t.Fatal(err)
			}
			looks(1)
			w.expect(t, 0, 0)
		}
		looks(1)
		w.expect(t, 1, 0)
	})
}

// TestWatchLinks exchanges a directory as Kubernetes does.
func TestWatchLinks(t *testing.T) {
	dir := t.TempDir()
	publish := func(version, content string) {
		t.Helper()
		real := filepath.Join(dir, version)
		if err := os.Mkdir(real, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(real, "tenants.yaml"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(version, filepath.Join(dir, "..data_tmp")); err != nil {
			t.Skip("no links here:", err)
		}
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	publish("..1", sample)
	if err := os.Symlink("..data/tenants.yaml", filepath.Join(dir, "tenants.yaml")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "tenants.yaml")} {
		watch(t, path, func(t *testing.T, w *watched, looks func(int)) {
			publish("..2"+filepath.Ext(path), sample+second)
			looks(2)
			w.expect(t, 1, 0)
			publish("..3"+filepath.Ext(path), sample)
			looks(2)
			w.expect(t, 2, 0)
			if got := w.loaded[1].Files()[0]; got != filepath.Join(dir, "tenants.yaml") {
				t.Errorf("read %s", got)
			}
		})
	}
}

// TestSwapWhileReading holds two looks that differ against each other.
func TestSwapWhileReading(t *testing.T) {
	path := writeFile(t, sample)
	before, err := look(path)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := look(path); !before.same(again) {
		t.Error("what nobody changed is told as changed")
	}
	replace(t, path, sample) // another file of the same size
	if after, _ := look(path); before.same(after) {
		t.Error("an exchanged file is not noticed")
	}
	if before.same(nil) {
		t.Error("a file that went is not noticed")
	}

	times := 0
	swap := func(until int) func() {
		return func() {
			if times++; times <= until {
				replace(t, path, sample+second)
			}
		}
	}
	if r, err := (Loader{meanwhile: swap(2)}).Load(path); err != nil || times != 3 || r.Len() != 2 {
		t.Errorf("read %d times: %v", times, err)
	}
	if _, err := (Loader{meanwhile: swap(100)}).Load(path); err == nil || !strings.Contains(err.Error(), "again and again") {
		t.Errorf("a file that never rests: %v", err)
	}
}

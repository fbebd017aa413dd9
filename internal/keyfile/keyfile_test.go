package keyfile

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// registry is HelseID as far as a rotation sees it. It takes assertions of the keys it has, and judges what it is sent.
type registry struct {
	t        *testing.T
	path     string
	keys     map[string]time.Time // by kid
	lifetime time.Duration
	now      time.Time

	refuse    error // Register fails, and does nothing
	lose      error // Register fails, and did it all the same
	notYet    bool  // registered keys are not taken yet
	retire    bool  // a new key ends all others
	listFails error
	posts     int
}

var errCrash = errors.New("crash")

func newRegistry(t *testing.T, first Key) *registry {
	t.Helper()
	r := &registry{t: t, path: filepath.Join(t.TempDir(), "client.jwk"), lifetime: 90 * 24 * time.Hour, now: time.Unix(1800000000, 0)}
	r.keys = map[string]time.Time{first.ID: r.now.Add(time.Hour)}
	if err := Create(r.path, first); err != nil {
		t.Fatal(err)
	}
	return r
}

func generate(t *testing.T) Key {
	t.Helper()
	k, err := Generate("ES256")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// signer is the kid of the key that a sidecar would sign with.
func (r *registry) signer() string {
	r.t.Helper()
	keys, err := Read(r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	return keys[0].ID
}

func (r *registry) list(context.Context) ([]Registered, error) {
	if _, ok := r.keys[r.signer()]; !ok {
		return nil, errors.New("invalid_client")
	}
	var listed []Registered
	for _, id := range slices.Sorted(maps.Keys(r.keys)) {
		listed = append(listed, Registered{ID: id, Thumbprint: id, Expires: r.keys[id]})
	}
	return listed, r.listFails
}

func (r *registry) register(_ context.Context, public []byte) (time.Time, error) {
	r.posts++
	var jwk map[string]any
	if json.Unmarshal(public, &jwk) != nil || jwk["d"] != nil || jwk["use"] != "sig" || jwk["alg"] == nil || jwk["exp"] != nil || jwk["sidecar_pending"] != nil {
		r.t.Errorf("sent %v", slices.Sorted(maps.Keys(jwk)))
	}
	id := jwk["kid"].(string)
	onDisk, _ := os.ReadFile(r.path)
	if !bytes.Contains(onDisk, []byte(id)) {
		r.t.Error("the key was sent before it was kept")
	}
	if r.refuse != nil {
		return time.Time{}, r.refuse
	}
	if r.retire {
		clear(r.keys)
	}
	r.keys[id] = r.now.Add(r.lifetime)
	if r.lose != nil {
		return time.Time{}, r.lose
	}
	return r.keys[id], nil
}

func (r *registry) try(_ context.Context, private []byte) error {
	k, err := parseKey(private)
	if err != nil || !k.private() {
		r.t.Error("tried no private key")
	}
	if _, ok := r.keys[k.ID]; !ok || r.notYet {
		return errors.New("invalid_client")
	}
	return nil
}

func (r *registry) rotation() *Rotation {
	return &Rotation{Path: r.path, List: r.list, Register: r.register, Try: r.try, Now: func() time.Time { return r.now }}
}

// file describes the file's keys.
func (r *registry) file() []string {
	r.t.Helper()
	keys, err := Read(r.path)
	if err != nil {
		r.t.Fatal(err)
	}
	var all []string
	for _, k := range keys {
		one := k.ID
		if k.Pending {
			one += " pending"
		}
		if !k.Expires.IsZero() {
			one += fmt.Sprintf(" exp+%v", k.Expires.Sub(r.now))
		}
		if !k.Replaced.IsZero() {
			one += fmt.Sprintf(" replaced+%v", k.Replaced.Sub(r.now))
		}
		all = append(all, one)
	}
	return all
}

func TestRotate(t *testing.T) {
	old := generate(t)
	r := newRegistry(t, old)
	if err := os.Chmod(r.path, 0o640); err != nil {
		t.Fatal(err)
	}
	out, err := r.rotation().Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if out.Old.ID != old.ID || out.New.ID == old.ID || out.New.Algorithm != "ES256" || out.Resumed || out.New.ID != out.New.Thumbprint {
		t.Errorf("%+v", out)
	}
	if diff := cmp.Diff([]string{out.New.ID + " exp+2160h0m0s", old.ID + " exp+1h0m0s replaced+0s"}, r.file()); diff != "" {
		t.Error(diff)
	}
	if info, _ := os.Stat(r.path); runtime.GOOS != "windows" && info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
	// The old key is dropped when it has ended, no sooner.
	r.now = r.now.Add(59 * time.Minute)
	if out, err := r.rotation().Prune(t.Context()); err != nil || len(out.Dropped) != 0 {
		t.Error(out, err)
	}
	r.now = r.now.Add(time.Minute)
	if out, err := r.rotation().Prune(t.Context()); err != nil || len(out.Dropped) != 1 || out.Dropped[0].ID != old.ID || len(r.file()) != 1 {
		t.Error(out, err, r.file())
	}
}

// A key that HelseID no longer lists is kept for a day after it was replaced.
func TestPruneForgotten(t *testing.T) {
	old := generate(t)
	r := newRegistry(t, old)
	r.keys[old.ID] = time.Time{}
	r.retire = true
	if _, err := r.rotation().Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		wait time.Duration
		keys int
	}{{24 * time.Hour, 2}, {time.Second, 1}} {
		r.now = r.now.Add(step.wait)
		if _, err := r.rotation().Prune(t.Context()); err != nil || len(r.file()) != step.keys {
			t.Errorf("%v %v", r.file(), err)
		}
	}
}

// A timer rotates each month keys that live ten years: the file holds the newest, and does not fill up.
func TestReplacedKeysAreBounded(t *testing.T) {
	r := newRegistry(t, generate(t))
	r.lifetime = 10 * 365 * 24 * time.Hour
	r.keys[r.signer()] = r.now.Add(r.lifetime)
	var signed []string
	for range 12 {
		r.now = r.now.Add(30 * 24 * time.Hour)
		signed = slices.Insert(signed, 0, r.signer())
		out, err := r.rotation().Run(t.Context())
		if err != nil || len(signed) > 3 && (len(out.Dropped) != 1 || out.Dropped[0].ID != signed[3]) {
			t.Fatal(out, err)
		}
	}
	keys, err := Read(r.path)
	if err != nil || len(keys) != 4 || keys[1].ID != signed[0] || keys[2].ID != signed[1] || keys[3].ID != signed[2] {
		t.Error(r.file(), signed, err)
	}
}

// A file that is too full is found out before HelseID hears of a key.
func TestFullFile(t *testing.T) {
	old := generate(t)
	posts := map[bool]int{}
	for length := maxFile - 900; length < maxFile-700; length += 10 {
		r := newRegistry(t, old)
		full := strings.Replace(string(old.Private()), "{", `{"note":"`+strings.Repeat("x", length)+`",`, 1)
		if err := os.WriteFile(r.path, []byte(full), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := r.rotation().Run(t.Context())
		if (err == nil) != (r.posts == 1) {
			t.Fatalf("%d bytes: %d sent, %v", length, r.posts, err)
		}
		posts[err == nil]++
	}
	if posts[true] == 0 || posts[false] == 0 {
		t.Errorf("no file is just too full: %v", posts)
	}
}

// Wherever a run ends, the file's first key is one that HelseID takes, the new key is never lost once it was sent, and
// the next run ends the work with the same key.
func TestCrash(t *testing.T) {
	for _, step := range []string{"made", "kept", "sent", "tried"} {
		for _, retire := range []bool{false, true} {
			t.Run(fmt.Sprint(step, " old ends ", retire), func(t *testing.T) {
				old := generate(t)
				r := newRegistry(t, old)
				r.retire = retire
				first := r.rotation()
				first.crash = func(at string) error {
					if at == step {
						return errCrash
					}
					return nil
				}
				if _, err := first.Run(t.Context()); !errors.Is(err, errCrash) {
					t.Fatal(err)
				}
				if r.signer() != old.ID {
					t.Error("the new key signs already")
				}
				for id := range r.keys {
					if raw, _ := os.ReadFile(r.path); !bytes.Contains(raw, []byte(id)) && !(retire && id == old.ID) {
						t.Error("a registered key is lost")
					}
				}
				waited := ""
				if keys, _ := Read(r.path); len(keys) == 2 {
					waited = keys[1].ID
				}
				out, err := r.rotation().Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if (waited != "") != out.Resumed || waited != "" && waited != out.New.ID || r.signer() != out.New.ID || r.posts != 1 {
					t.Errorf("waited %q, new %s, resumed %v, %d posts", waited, out.New.ID, out.Resumed, r.posts)
				}
				if keys, _ := Read(r.path); len(keys) != 2 || keys[0].Pending || keys[1].ID != old.ID {
					t.Error(r.file())
				}
			})
		}
	}
}

func TestRegisterFails(t *testing.T) {
	down := errors.New("down")
	for name, test := range map[string]struct {
		set   func(*registry)
		mend  func(*registry)
		fails string // "" = the run ends well all the same
		posts int    // after the second run
	}{
		"refused":       {func(r *registry) { r.refuse = down }, func(r *registry) { r.refuse = nil }, "not seen to take", 2},
		"answer lost":   {func(r *registry) { r.lose = down }, func(*registry) {}, "", 2},
		"not taken yet": {func(r *registry) { r.notYet = true }, func(r *registry) { r.notYet = false }, "does not take it yet", 1},
	} {
		t.Run(name, func(t *testing.T) {
			old := generate(t)
			r := newRegistry(t, old)
			test.set(r)
			_, err := r.rotation().Run(t.Context())
			if test.fails == "" {
				if err != nil || r.signer() == old.ID {
					t.Fatal(err)
				}
			} else {
				pending, ok := errors.AsType[*PendingError](err)
				if !ok || !strings.Contains(err.Error(), test.fails) || r.signer() != old.ID || len(r.file()) != 2 {
					t.Fatal(err, r.file())
				}
				test.mend(r)
				out, err := r.rotation().Run(t.Context())
				if err != nil || !out.Resumed || out.New.ID != pending.Key.ID || r.signer() != pending.Key.ID {
					t.Error(out, err)
				}
			}
			if test.fails != "" && r.posts != test.posts {
				t.Errorf("%d posts", r.posts)
			}
		})
	}
}

// When the list can't be had after a lost answer, nobody knows; the next run finds out.
func TestOutcomeUnknown(t *testing.T) {
	old := generate(t)
	r := newRegistry(t, old)
	rotation := r.rotation()
	rotation.Register = func(ctx context.Context, public []byte) (time.Time, error) {
		_, _ = r.register(ctx, public)
		r.listFails = errors.New("down")
		return time.Time{}, errors.New("reset")
	}
	_, err := rotation.Run(t.Context())
	if _, ok := errors.AsType[*PendingError](err); !ok || !strings.Contains(err.Error(), "not known whether") || r.signer() != old.ID {
		t.Fatal(err)
	}
	if _, err := r.rotation().Run(t.Context()); err != nil { // the list still fails, but the new key is taken
		t.Fatal(err)
	}
	if r.posts != 1 || r.signer() == old.ID {
		t.Error(r.posts, r.file())
	}
}

func TestListFails(t *testing.T) {
	old := generate(t)
	r := newRegistry(t, old)
	r.listFails = errors.New("down")
	before, _ := os.ReadFile(r.path)
	if _, err := r.rotation().Run(t.Context()); !errors.Is(err, r.listFails) {
		t.Error(err)
	}
	if after, _ := os.ReadFile(r.path); !bytes.Equal(before, after) || r.posts != 0 {
		t.Error("something was done")
	}
}

// A key that waits is put aside for one of another kind, unless HelseID has it; and when it ended there meanwhile.
func TestAnotherKind(t *testing.T) {
	old := generate(t)
	r := newRegistry(t, old)
	r.refuse = errors.New("not of this kind")
	first := r.rotation()
	first.Algorithm = "ES512"
	if _, err := first.Run(t.Context()); err == nil {
		t.Fatal("no error")
	}
	r.refuse = nil
	out, err := r.rotation().Run(t.Context())
	if err != nil || out.New.Algorithm != "ES256" || len(out.Dropped) != 1 || out.Dropped[0].Algorithm != "ES512" || out.Resumed {
		t.Errorf("%+v %v", out, err)
	}
	r.notYet = true
	_, err = r.rotation().Run(t.Context())
	waiting, _ := errors.AsType[*PendingError](err)
	r.notYet = false
	r.keys[waiting.Key.ID] = r.now
	out, err = r.rotation().Run(t.Context())
	if err != nil || out.New.ID == waiting.Key.ID || out.Resumed || len(r.file()) != 3 {
		t.Errorf("%+v %v %v", out, err, r.file())
	}
}

func TestLearn(t *testing.T) {
	k := generate(t)
	path := filepath.Join(t.TempDir(), "k")
	if err := Create(path, k); err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1893456000, 0)
	for range 2 {
		keys, err := Learn(path, []Registered{{ID: "other"}, {Thumbprint: k.Thumbprint, Expires: at}})
		if err != nil || !keys[0].Expires.Equal(at) {
			t.Error(keys, err)
		}
	}
	if raw, _ := os.ReadFile(path); !bytes.Contains(raw, []byte(`"exp": 1893456000`)) || bytes.Contains(raw, []byte(`"keys"`)) {
		t.Error("not written, or in another form than the file had")
	}
	info, _ := os.Stat(path)
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Error(info.Mode())
	}
}

// What this package does not know stays in the file.
func TestKeepsTheRest(t *testing.T) {
	old := generate(t)
	r := newRegistry(t, old)
	public, _ := generate(t).Public()
	set := fmt.Sprintf(`{"keys":[%s,%s,{"kty":"oct","kid":"x"}]}`, strings.Replace(string(old.Private()), "{", `{"note":[1, 2],`, 1), public)
	if err := os.WriteFile(r.path, []byte(set), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.rotation().Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	raw, _ := os.ReadFile(r.path)
	var got struct{ Keys []map[string]any }
	if json.Unmarshal(raw, &got) != nil || len(got.Keys) != 4 || got.Keys[1]["note"] == nil || got.Keys[3]["kty"] != "oct" {
		t.Errorf("%d keys", len(got.Keys))
	}
}

func TestRefusedFiles(t *testing.T) {
	public, _ := generate(t).Public()
	for name, content := range map[string]string{
		"PEM": "-----BEGIN PRIVATE KEY-----\nMIG=\n-----END PRIVATE KEY-----\n", "empty": "", "text": "secret", "no keys": `{"keys":[]}`,
		"keys no list": `{"keys":1}`, "public": string(public), "null": "null", "array": "[]", "entry": `{"keys":[1]}`,
		"huge": strings.Repeat(" ", maxFile+1),
	} {
		r := newRegistry(t, generate(t))
		if err := os.WriteFile(r.path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := r.rotation().Run(t.Context())
		if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "MIG") {
			t.Error(name, err)
		}
		if name == "PEM" && !errors.Is(err, ErrNotJWK) {
			t.Error(name, err)
		}
		if after, _ := os.ReadFile(r.path); string(after) != content {
			t.Error(name, "was changed")
		}
	}
	if _, err := (&Rotation{Path: filepath.Join(t.TempDir(), "none")}).Run(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestTwoAtOnce(t *testing.T) {
	r := newRegistry(t, generate(t))
	rotation := r.rotation()
	rotation.crash = func(step string) error {
		if step == "kept" {
			if _, err := r.rotation().Run(t.Context()); !errors.Is(err, ErrBusy) {
				t.Error("a second one:", err)
			}
		}
		return nil
	}
	if _, err := rotation.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.rotation().Run(t.Context()); err != nil {
		t.Error("the lock stayed:", err)
	}
}

// Whoever writes the file without a lock is not overwritten.
func TestChangedMeanwhile(t *testing.T) {
	r := newRegistry(t, generate(t))
	other := generate(t)
	rotation := r.rotation()
	rotation.crash = func(step string) error {
		if step != "tried" {
			return nil
		}
		r.keys[other.ID] = time.Time{}
		return os.WriteFile(r.path, other.Private(), 0o600)
	}
	if _, err := rotation.Run(t.Context()); !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
	if r.signer() != other.ID {
		t.Error("the other's change was overwritten")
	}
}

func TestReadOnlyFolder(t *testing.T) {
	r := newRegistry(t, generate(t))
	folder := filepath.Dir(r.path)
	if err := os.Mkdir(r.path+".lock", 0o700); err != nil { // root may write anywhere, but not into a folder's name
		t.Fatal(err)
	}
	if _, err := r.rotation().Run(t.Context()); !errors.Is(err, ErrReadOnly) || r.posts != 0 {
		t.Error(err)
	}
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("this user may write anywhere")
	}
	_ = os.Remove(r.path + ".lock")
	if err := os.Chmod(folder, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(folder, 0o700)
	if _, err := r.rotation().Run(t.Context()); !errors.Is(err, ErrReadOnly) || r.posts != 0 {
		t.Error(err)
	}
}

// A link stays a link, and what a crashed run left is cleared away.
func TestLinksAndLeftovers(t *testing.T) {
	r := newRegistry(t, generate(t))
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(r.path, link); err != nil {
		t.Skip(err)
	}
	name := ".sidecar-key-" + filepath.Base(r.path)
	others := filepath.Join(filepath.Dir(r.path), name+"-2-123.tmp") // of a file whose name begins alike
	for _, left := range []string{filepath.Join(filepath.Dir(r.path), name+"-123.tmp"), others} {
		if err := os.WriteFile(left, []byte("half a key"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rotation := r.rotation()
	rotation.Path = link
	out, err := rotation.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Lstat(link); info.Mode()&os.ModeSymlink == 0 || r.signer() != out.New.ID {
		t.Error("the link was replaced")
	}
	names, _ := filepath.Glob(filepath.Join(filepath.Dir(r.path), ".*"))
	if len(names) != 1 || names[0] != others {
		t.Error("left behind:", names)
	}
}

// What is there under the lock's name, and was put there by somebody else, is not touched.
func TestPlantedLock(t *testing.T) {
	for name, plant := range map[string]func(victim, lock string) error{"link": os.Symlink, "hard link": os.Link} {
		t.Run(name, func(t *testing.T) {
			r := newRegistry(t, generate(t))
			victim := filepath.Join(filepath.Dir(r.path), "victim")
			if err := os.WriteFile(victim, []byte("another's"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := plant(victim, r.path+".lock"); err != nil || runtime.GOOS == "windows" {
				t.Skip("no links here:", err)
			}
			before := owners(t, r.path, victim)
			if _, err := r.rotation().Run(t.Context()); !errors.Is(err, ErrReadOnly) || r.posts != 0 {
				t.Error(err)
			}
			if got := owners(t, r.path, victim); got != before {
				t.Errorf("the owner was %s, is %s", before, got)
			}
		})
	}
}

// owners gives the key file to somebody else where that can be done, as where root rotates it, and says whose the
// victim is.
func owners(t *testing.T, key, victim string) string {
	t.Helper()
	_ = os.Chown(key, 65534, 65534)
	info, err := os.Stat(victim)
	if err != nil {
		t.Fatal(err)
	}
	sys := reflect.Indirect(reflect.ValueOf(info.Sys()))
	return fmt.Sprint(sys.FieldByName("Uid"), sys.FieldByName("Gid"))
}

func TestGenerate(t *testing.T) {
	for _, algorithm := range []string{"ES256", "ES384", "ES512"} {
		k, err := Generate(algorithm)
		if err != nil || k.Algorithm != algorithm || k.ID != k.Thumbprint || !k.private() {
			t.Error(algorithm, err)
		}
		public, err := k.Public()
		var jwk map[string]any
		if err != nil || json.Unmarshal(public, &jwk) != nil || jwk["d"] != nil || jwk["kid"] != k.ID || jwk["use"] != "sig" {
			t.Error(string(public), err)
		}
		if shown := fmt.Sprintf("%v %+v %#v %s", k, k, k, []Key{k}); strings.Contains(shown, string(k.members["d"])) || strings.Contains(shown, "members") {
			t.Error("a key shows itself")
		}
	}
	for _, algorithm := range []string{"", "RS256", "HS256", "none"} {
		if _, err := Generate(algorithm); err == nil {
			t.Error(algorithm)
		}
	}
}

func TestCreate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	first := generate(t)
	if err := Create(path, first); err != nil {
		t.Fatal(err)
	}
	if err := Create(path, generate(t)); !errors.Is(err, os.ErrExist) {
		t.Error(err)
	}
	keys, err := Read(path)
	if err != nil || keys[0].ID != first.ID {
		t.Error("overwritten", err)
	}
	if info, _ := os.Stat(path); runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Error(info.Mode())
	}
}

// Whatever stands in the file, it is refused, or reads the same after it was written.
func FuzzParse(f *testing.F) {
	k, err := Generate("ES256")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.Private())
	f.Add([]byte(`{"keys":[` + string(k.Private()) + `,{"kty":"oct"},{"exp":1,"sidecar_pending":true,"sidecar_replaced":2}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		keys, err := parse(raw)
		if err != nil {
			return
		}
		composed, err := compose(keys)
		if err != nil {
			if strings.Contains(err.Error(), "BUG") {
				t.Error(err)
			}
			return
		}
		again, err := parse(composed)
		if err != nil || len(again) != len(keys) {
			t.Fatal(err)
		}
		for i := range keys {
			if keys[i].ID != again[i].ID || keys[i].Pending != again[i].Pending || !keys[i].Expires.Equal(again[i].Expires) {
				t.Error(i, "reads otherwise")
			}
		}
	})
}

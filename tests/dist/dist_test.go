package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
)

const root = "../.."

// TestReproducible packs twice, from two folders, with files of other dates.
func TestReproducible(t *testing.T) {
	when := time.Unix(1_790_000_001, 0).UTC() // odd: zip's older field counts in pairs of seconds
	packed := func(from string) string {
		r := release{root: from, out: filepath.Join(t.TempDir(), "out"), version: "1.2.3", when: when, platforms: []string{"linux/amd64", "windows/amd64"}}
		if err := r.pack(t.Context()); err != nil {
			t.Fatal(err)
		}
		return r.out
	}
	one, other := packed(root), packed(copied(t))
	sums := read(t, filepath.Join(one, "SHA256SUMS"))
	if diff := cmp.Diff(sums, read(t, filepath.Join(other, "SHA256SUMS"))); diff != "" {
		t.Errorf("two builds differ (-one +other):\n%s", diff)
	}
	if n := strings.Count(sums, "\n"); n != 4 {
		t.Errorf("%d files have a checksum, want 4", n)
	}
	for line := range strings.Lines(sums) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		content := read(t, filepath.Join(one, name))
		if sum != fmt.Sprintf("%x", sha256.Sum256([]byte(content))) {
			t.Errorf("the checksum of %s is wrong", name)
		}
	}
	docs := []string{"LICENSE", "README.md", "desktop.md"}
	checkTar(t, filepath.Join(one, "sfm-sidecar_1.2.3_linux_amd64.tar.gz"), when, append(docs, "sfm-sidecar.service", "sidecar", "sidecar.env.example"))
	checkZip(t, filepath.Join(one, "sfm-sidecar_1.2.3_windows_amd64.zip"), when, append(docs, "sidecar.env.example", "sidecar.exe"))
	for _, name := range []string{"linux", "windows"} {
		checkBill(t, filepath.Join(one, "sfm-sidecar_1.2.3_"+name+"_amd64.cdx.json"), name)
	}
}

// copied is the source in another folder, all of it new.
func copied(t *testing.T) string {
	t.Helper()
	target := filepath.Join(t.TempDir(), "else where")
	list := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	names, err := list.Output()
	if err != nil {
		t.Skipf("this is no checkout: %v", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(names), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue // deleted, not yet committed
		}
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(target, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return target
}

func read(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func checkTar(t *testing.T, name string, when time.Time, want []string) {
	t.Helper()
	compressed, err := gzip.NewReader(strings.NewReader(read(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(compressed)
	var got []string
	for {
		h, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		short := strings.TrimPrefix(h.Name, "sfm-sidecar_1.2.3_linux_amd64/")
		got = append(got, short)
		mode := int64(0o644)
		if short == "sidecar" {
			mode = 0o755
			checkProgram(t, archive)
		}
		if !h.ModTime.Equal(when) || h.Uid != 0 || h.Uname != "" || h.Mode != mode {
			t.Errorf("%s: time %v, user %d %q, mode %o", short, h.ModTime, h.Uid, h.Uname, h.Mode)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// checkProgram looks for the paths of the machine that built it.
func checkProgram(t *testing.T, program io.Reader) {
	t.Helper()
	content, err := io.ReadAll(program)
	if err != nil {
		t.Fatal(err)
	}
	folder, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(content, []byte(folder+"/")) {
		t.Error("the program names the folder that it was built in")
	}
}

func checkZip(t *testing.T, name string, when time.Time, want []string) {
	t.Helper()
	archive, err := zip.OpenReader(name)
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	var got []string
	for _, f := range archive.File {
		got = append(got, strings.TrimPrefix(f.Name, "sfm-sidecar_1.2.3_windows_amd64/"))
		if !f.Modified.Equal(when) {
			t.Errorf("%s is of %v", f.Name, f.Modified)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// checkBill compares a bill of materials with what Go says of a build of one's own,
// and takes no member that CycloneDX does not know.
func checkBill(t *testing.T, name, goos string) {
	t.Helper()
	var bill cdx.BOM
	decoder := json.NewDecoder(strings.NewReader(read(t, name)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&bill); err != nil {
		t.Fatal(err)
	}
	if bill.SpecVersion != cdx.SpecVersion1_6 || bill.BOMFormat != "CycloneDX" || bill.SerialNumber != "" {
		t.Errorf("it is a %s %s with number %q", bill.BOMFormat, bill.SpecVersion, bill.SerialNumber)
	}
	program := filepath.Join(t.TempDir(), "sidecar")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, "./cmd/sidecar")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64", "GOOS="+goos)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"pkg:golang/std@" + strings.TrimPrefix(info.GoVersion, "go"): ""}
	for _, m := range info.Deps {
		want["pkg:golang/"+m.Path+"@"+m.Version] = m.Sum
	}
	got := map[string]string{}
	for _, c := range *bill.Components {
		got[c.PackageURL] = ""
		if c.Properties != nil {
			got[c.PackageURL] = (*c.Properties)[0].Value
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
	if main := bill.Metadata.Component; main.Name != "sfm-sidecar" || main.Version != "1.2.3" || len((*main.Hashes)[0].Value) != 64 {
		t.Errorf("it is about %+v", main)
	}
	if n := len(*(*bill.Dependencies)[0].Dependencies); n != len(got) {
		t.Errorf("%d of %d components are said to be used", n, len(got))
	}
}

func TestVersionsThatAreNoName(t *testing.T) {
	for _, version := range []string{"", "a/b", "a b"} {
		if err := (release{version: version, out: t.TempDir()}).pack(t.Context()); err == nil {
			t.Errorf("%q was taken", version)
		}
	}
}

// Command dist packs the sidecar for those who run it outside of containers: an
// archive per platform, what is in it (a CycloneDX bill of materials), and the
// checksums of both. The same source and Go make the same bytes, in whatever folder
// and at whatever time.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// platforms are those that are packed.
var platforms = []string{"darwin/amd64", "darwin/arm64", "linux/amd64", "linux/arm64", "windows/amd64", "windows/arm64"}

// release is what is packed, and how.
type release struct {
	root, out, version string
	when               time.Time // of every file in the archives
	platforms          []string
}

func main() {
	log.SetFlags(0)
	r := release{platforms: platforms}
	flag.StringVar(&r.root, "root", "..", "folder of the source")
	flag.StringVar(&r.out, "out", "../bin/dist", "folder for the archives")
	flag.StringVar(&r.version, "version", "dev", "version of the program")
	flag.Parse()
	ctx := context.Background()
	var err error
	if r.when, err = commitTime(ctx, r.root); err == nil {
		err = r.pack(ctx)
	}
	if err != nil {
		log.Fatal(err) //nolint:forbidigo // this is main, of a small tool
	}
}

// commitTime is SOURCE_DATE_EPOCH, or the date of the last commit.
func commitTime(ctx context.Context, root string) (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		out, err := exec.CommandContext(ctx, "git", "-C", root, "log", "-1", "--format=%ct").Output()
		if err != nil {
			return time.Time{}, fmt.Errorf("asking for the commit's date (or set SOURCE_DATE_EPOCH): %w", err)
		}
		text = strings.TrimSpace(string(out))
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the commit's date: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// pack writes every archive, its bill of materials and SHA256SUMS into an empty folder.
func (r release) pack(ctx context.Context) error {
	if strings.ContainsAny(r.version, `/\ `) || r.version == "" {
		return fmt.Errorf("the version %q can't be part of a file's name", r.version)
	}
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	for _, platform := range r.platforms {
		if err := r.packOne(ctx, platform); err != nil {
			return fmt.Errorf("packing for %s: %w", platform, err)
		}
	}
	return sums(r.out)
}

func (r release) packOne(ctx context.Context, platform string) error {
	goos, goarch, ok := strings.Cut(platform, "/")
	if !ok {
		return errors.New("not of the form system/architecture")
	}
	folder, err := os.MkdirTemp("", "dist")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // left over at worst
	program := filepath.Join(folder, "sidecar")
	if goos == "windows" {
		program += ".exe"
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -buildid= -X main.version="+r.version, "-o", program, "./cmd/sidecar")
	build.Dir = r.root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=", "GOOS="+goos, "GOARCH="+goarch, "GOAMD64=v1", "GOARM64=v8.0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building: %w\n%s", err, out)
	}
	name := strings.Join([]string{"sfm-sidecar", r.version, goos, goarch}, "_")
	files := []file{
		{filepath.Base(program), program, 0o755},
		{"LICENSE", filepath.Join(r.root, "LICENSE"), 0o644},
		{"README.md", filepath.Join(r.root, "README.md"), 0o644},
		{"desktop.md", filepath.Join(r.root, "docs", "desktop.md"), 0o644},
		{"sidecar.env.example", filepath.Join(r.root, "init", "sidecar.env.example"), 0o644},
	}
	if goos == "linux" {
		files = append(files, file{"sfm-sidecar.service", filepath.Join(r.root, "init", "sfm-sidecar.service"), 0o644})
	}
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	write, suffix := writeTar, ".tar.gz"
	if goos == "windows" {
		write, suffix = writeZip, ".zip"
	}
	if err := write(filepath.Join(r.out, name+suffix), name, r.when, files); err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	return writeBill(filepath.Join(r.out, name+".cdx.json"), program, r)
}

// sums writes the SHA-256 of every file of a folder, as sha256sum -c reads it.
func sums(folder string) error {
	entries, err := os.ReadDir(folder) // sorted by name
	if err != nil {
		return err
	}
	var text strings.Builder
	for _, entry := range entries {
		sum, err := sumOf(filepath.Join(folder, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "%s  %s\n", sum, entry.Name())
	}
	return os.WriteFile(filepath.Join(folder, "SHA256SUMS"), []byte(text.String()), 0o644)
}

func sumOf(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}

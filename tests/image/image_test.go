package image_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"sfm-sidecar/tests/image"
)

const (
	root = "../.."
	// most is the size that a pull of the sidecar's image may have, in bytes.
	most = 15 << 20
	// nobody is the user of the images: no name, no home, no rights.
	nobody = 65532
	// keyFile is the client's key, as both containers see it.
	keyFile = "/keys/client.jwk"
)

// programs builds both programs as the Dockerfile does.
func programs(t *testing.T) map[string]string {
	t.Helper()
	out := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X main.version=1.2.3", "-o", out+"/", "./cmd/sidecar", "./cmd/simulator")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return map[string]string{
		"/out/sidecar": out + "/sidecar", "/out/simulator": out + "/simulator",
		"/src/LICENSE":                       filepath.Join(root, "LICENSE"),
		"/etc/ssl/certs/ca-certificates.crt": "/etc/ssl/certs/ca-certificates.crt",
	}
}

func dockerfile(t *testing.T) *image.Dockerfile {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := image.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func assemble(t *testing.T, stage string, files map[string]string) v1.Image {
	t.Helper()
	img, err := dockerfile(t).Assemble(stage, files,
		map[string]string{"VERSION": "1.2.3", "REVISION": "abc", "TARGETARCH": runtime.GOARCH})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestDockerfile(t *testing.T) {
	d := dockerfile(t)
	if got := d.Last(); got != "sidecar" {
		t.Errorf("without a target %s is built, not the sidecar", got)
	}
	if base := d.Base("build"); !strings.Contains(base, "@sha256:") {
		t.Errorf("the build stands on %s, which is not pinned by its digest", base)
	}
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte("golang:"+strings.TrimPrefix(runtime.Version(), "go"))) && !bytes.Contains(mod, []byte("go 1.26")) {
		t.Error("the build's Go is older than the module asks for")
	}
}

func TestImages(t *testing.T) {
	files := programs(t)
	for stage, want := range map[string][]string{
		"sidecar":   {"LICENSE", "etc/ssl/certs/ca-certificates.crt", "sidecar"},
		"simulator": {"LICENSE", "simulator"},
	} {
		t.Run(stage, func(t *testing.T) {
			img := assemble(t, stage, files)
			config, err := img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			c := config.Config
			if c.User != "65532:65532" || c.Healthcheck != nil || !slices.Equal(c.Entrypoint, []string{"/" + stage}) {
				t.Errorf("user %q, entry %q, health check %v", c.User, c.Entrypoint, c.Healthcheck)
			}
			for _, label := range []string{"title", "description", "licenses", "version", "revision"} {
				if c.Labels["org.opencontainers.image."+label] == "" {
					t.Errorf("the label %s is missing: %v", label, c.Labels)
				}
			}
			if got := c.Labels["org.opencontainers.image.version"]; got != "1.2.3" {
				t.Errorf("the label version is %s", got)
			}
			if got := slices.Sorted(maps.Keys(content(t, img))); !slices.Equal(got, want) {
				t.Errorf("the image holds %q, want %q", got, want)
			}
			packed, unpacked := sizes(t, img)
			t.Logf("%s: %.1f MB to pull, %.1f MB unpacked", stage, float64(packed)/1e6, float64(unpacked)/1e6)
			if stage == "sidecar" && packed > most {
				t.Errorf("%d bytes to pull, at most %d were wanted", packed, most)
			}
		})
	}
}

func TestRefusesUnknownInstructions(t *testing.T) {
	for _, line := range []string{"RUN true", "HEALTHCHECK CMD /sidecar probe live", "ENTRYPOINT /sidecar", "COPY --from=build /bin/sh /sh"} {
		d, err := image.Parse([]byte("FROM scratch AS x\n" + line + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Assemble("x", nil, nil); err == nil {
			t.Errorf("%s was taken", line)
		}
	}
}

// sizes are what a pull transfers and what it takes on disk.
func sizes(t *testing.T, img v1.Image) (packed, unpacked int64) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		n, err := l.Size()
		if err != nil {
			t.Fatal(err)
		}
		packed += n
		r, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		m, err := io.Copy(io.Discard, r)
		if err = errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		unpacked += m
	}
	return packed, unpacked
}

// content is every file of an image.
func content(t *testing.T, img v1.Image) map[string][]byte {
	t.Helper()
	r := mutate.Extract(img)
	defer r.Close()
	files := map[string][]byte{}
	for archive := tar.NewReader(r); ; {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Mode&0o022 != 0 {
			t.Errorf("%s belongs to %d with mode %o: the image's user could change it", h.Name, h.Uid, h.Mode)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		if files[h.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRuns starts the images' programs as a container engine would: in the image's
// own root, which their user can't write to, with no home and no environment but
// what is given. Only the network is this machine's.
func TestRuns(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("changing the root folder needs root")
	}
	files := programs(t)
	sidecar, simulator := unpack(t, assemble(t, "sidecar", files)), unpack(t, assemble(t, "simulator", files))

	version, err := inside(t.Context(), sidecar, nil, "/sidecar", "version").Output()
	if err != nil || !strings.HasPrefix(string(version), "sidecar 1.2.3 ") {
		t.Fatalf("sidecar version: %v, %q", err, version)
	}
	volume(t, simulator)
	settings := startSimulator(t, simulator)
	key, err := os.ReadFile(filepath.Join(simulator, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	volume(t, sidecar)
	if err := errors.Join(os.WriteFile(filepath.Join(sidecar, keyFile), key, 0o600), os.Chown(filepath.Join(sidecar, keyFile), nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	settings = append(settings, "SIDECAR_LISTEN=127.0.0.1:0", "SIDECAR_ADMIN_LISTEN=127.0.0.1:0")
	run := inside(t.Context(), sidecar, settings, "/sidecar")
	log, err := run.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	admin := ""
	lines := bufio.NewScanner(log)
	for admin == "" && lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), `"admin":"`); ok {
			admin, _, _ = strings.Cut(rest, `"`)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, log) }()
	if admin == "" {
		t.Fatal("the sidecar did not start in its image")
	}
	if status := get(t, "http://"+admin+"/readyz"); status != http.StatusOK {
		t.Errorf("/readyz answers %d", status)
	}
	if err := run.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := run.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// startSimulator runs the stand-ins until the test ends, and returns the settings
// of their client.
func startSimulator(t *testing.T, root string) []string {
	t.Helper()
	run := inside(t.Context(), root, nil, "/simulator", "-helseid", "127.0.0.1:0", "-sfm", "127.0.0.1:0", "-write-client-jwk", keyFile)
	out, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = run.Process.Signal(syscall.SIGTERM)
		_ = run.Wait()
	})
	var settings []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		line := strings.TrimPrefix(strings.TrimSpace(lines.Text()), "export ")
		name, value, ok := strings.Cut(line, "=")
		if ok && (strings.HasPrefix(name, "HELSEID_") || strings.HasPrefix(name, "SFM_")) {
			settings = append(settings, name+"="+strings.Trim(value, `'"`))
		}
		if len(settings) >= 4 {
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return settings
}

// volume is a folder that a container gets besides its image: an emptyDir, a secret.
func volume(t *testing.T, root string) {
	t.Helper()
	dir := filepath.Join(root, filepath.Dir(keyFile))
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, nobody, nobody)); err != nil {
		t.Fatal(err)
	}
}

func unpack(t *testing.T, img v1.Image) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "image")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o555); err != nil { // root writes all the same, the images' user does not
		t.Fatal(err)
	}
	for name, data := range content(t, img) {
		file := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, data, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func inside(ctx context.Context, root string, environ []string, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Env, c.Dir, c.WaitDelay = append([]string{"IMAGE=1"}, environ...), "/", 10*time.Second
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return c
}

func get(t *testing.T, address string) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := new(http.Client).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

package app

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/telemetry"
)

const (
	// bundleTimeout bounds how long the running sidecar may take to tell.
	bundleTimeout = 10 * time.Second
	maxTellings   = 16 << 20 // bytes of one of its answers
)

const bundleReadme = `Support bundle of the SFM sidecar

about.json         which program, where, when
configuration.txt  every variable with its value; secrets hidden (sidecar env)
faults.txt         what is wrong with the configuration, if anything is
status.json        what the running sidecar knows: HelseID, SFM, tokens' states
                   and ends, the last refusals, clock, client key, registry
metrics.txt        its metrics

It holds no tokens, no keys, no national identity numbers, no session handles and
nothing of what was sent to SFM. It does name organizations, journals, hosts and
paths of files: send it to whoever is to help you, and to nobody else.
`

// bundleFile is one file of a support bundle.
type bundleFile struct {
	name string
	text []byte
}

// supportBundle writes what support wants to know into one archive: what the command
// can see by itself, and what the running sidecar tells where one answers.
func supportBundle(ctx context.Context, o Options) int {
	now := time.Now()
	flags := flagSet(o, "support-bundle")
	file := flags.String("o", "sidecar-support-"+now.UTC().Format("20060102-150405")+".zip", "")
	withKey := flags.Bool("with-key", false, "")
	if flags.Parse(o.Args) != nil || flags.NArg() > 0 || *file == "" {
		return misused(o)
	}
	archive, silent, err := bundle(ctx, o, now, *withKey)
	if err != nil {
		return failed(o, err)
	}
	if silent != nil {
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: the bundle holds no status and no metrics: %v\n", silent)
	}
	if *file == "-" {
		_, err = o.Stdout.Write(archive)
	} else if err = createPrivate(*file, archive); err == nil {
		_, _ = fmt.Fprintf(o.Stdout, "%s\n", *file)
	}
	if err != nil {
		return failed(o, err)
	}
	return exitDone
}

// createPrivate writes a new file that only its owner can read. One that is there
// stays as it is.
func createPrivate(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already, and is not overwritten; name another file with -o", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(name) // a part of an archive is of no use
	}
	return err
}

// about says which program made a bundle.
type about struct {
	Made    time.Time `json:"made"`
	Version string    `json:"version"`
	Go      string    `json:"go"`
	OS      string    `json:"os"`
	Arch    string    `json:"arch"`
	Asked   string    `json:"asked"`             // where the running sidecar was looked for
	Running bool      `json:"running"`           // it answered
	Without string    `json:"without,omitempty"` // why its part is missing
}

// bundle makes the archive. silent is why the running sidecar's part is missing, nil
// where it is there.
func bundle(ctx context.Context, o Options, now time.Time, withKey bool) (archive []byte, silent, err error) {
	var configuration bytes.Buffer
	if err := config.WriteCurrent(&configuration, o.Environ); err != nil {
		return nil, nil, err
	}
	address, told, silent := askRunning(ctx, o.Environ, withKey)
	says := about{
		Made: now.UTC(), Version: versionOf(o), Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		Asked: address, Running: silent == nil,
	}
	if silent != nil {
		says.Without = silent.Error()
	}
	text, err := masked(says)
	if err != nil {
		return nil, nil, err
	}
	files := append([]bundleFile{
		{"README.txt", []byte(bundleReadme)}, {"about.json", text},
		{"configuration.txt", []byte(telemetry.Mask(configuration.String()))},
		{"faults.txt", []byte(telemetry.Mask(faultsOf(o.Environ)))},
	}, told...)
	archive, err = pack(files, now)
	return archive, silent, err
}

// faultsOf lists what serve would complain about.
func faultsOf(environ []string) string {
	var lines strings.Builder
	_, warnings, err := config.Load(environ)
	for _, w := range warnings {
		fmt.Fprintln(&lines, "warning:", w)
	}
	if err != nil {
		fmt.Fprintln(&lines, err)
	}
	return lines.String()
}

// askRunning gets what the sidecar that runs with this environment tells of itself.
// Any program may listen where none runs: only who says so has the caller key sent.
func askRunning(ctx context.Context, environ []string, withKey bool) (address string, told []bundleFile, err error) {
	admin, err := config.AdminAddress(environ)
	if err != nil {
		return "", nil, err
	}
	var key config.Secret
	if withKey {
		if key, err = config.CallerKey(environ); err != nil {
			return admin, nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, bundleTimeout)
	defer cancel()
	raw, err := tell(ctx, reachable(admin), supportPath, key)
	if err != nil {
		return admin, nil, fmt.Errorf("asking %s (SIDECAR_ADMIN_LISTEN): %w", admin, err)
	}
	status, err := masked(json.RawMessage(raw))
	if err != nil {
		return admin, nil, fmt.Errorf("%s (SIDECAR_ADMIN_LISTEN) answers, but not as a sidecar does", admin)
	}
	told = append(told, bundleFile{"status.json", status})
	metrics, err := tell(ctx, reachable(admin), "/metrics", config.Secret{})
	if err != nil {
		return admin, nil, fmt.Errorf("asking %s (SIDECAR_ADMIN_LISTEN) for its metrics: %w", admin, err)
	}
	return admin, append(told, bundleFile{"metrics.txt", []byte(telemetry.Mask(string(metrics)))}), nil
}

// tell makes one call, straight to the address, which is one of this machine.
func tell(ctx context.Context, address, path string, key config.Secret) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: refuseRedirect}
	res, err := callersClient{key: key, client: client}.do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode == http.StatusUnauthorized && key.Empty() {
		return nil, errors.New("it asks for the caller key, which is sent to whatever listens there with --with-key only")
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %d %s", res.StatusCode, telemetry.Mask(res.Header.Get("Sidecar-Error")))
	}
	return io.ReadAll(io.LimitReader(res.Body, maxTellings))
}

// masked is a value as JSON with every text in it masked, names of members too.
func masked(value any) ([]byte, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var plain map[string]any
	if err := decoder.Decode(&plain); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	err = encoder.Encode(maskAll(plain))
	return out.Bytes(), err
}

func maskAll(value any) any {
	switch v := value.(type) {
	case string:
		return telemetry.Mask(v)
	case []any:
		for i := range v {
			v[i] = maskAll(v[i])
		}
	case map[string]any:
		clean := make(map[string]any, len(v))
		for name, member := range v {
			clean[telemetry.Mask(name)] = maskAll(member)
		}
		return clean
	}
	return value
}

// pack makes a ZIP archive.
func pack(files []bundleFile, now time.Time) ([]byte, error) {
	var archive bytes.Buffer
	zipped := zip.NewWriter(&archive)
	for _, f := range files {
		w, err := zipped.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Deflate, Modified: now})
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(f.text); err != nil {
			return nil, err
		}
	}
	err := zipped.Close()
	return archive.Bytes(), err
}

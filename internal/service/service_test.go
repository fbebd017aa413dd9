package service

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shipped is the definition whose unit comes with the program, for those who install
// by hand.
func shipped() Definition {
	return Definition{Name: DefaultName, Program: "/usr/local/bin/sidecar", EnvFile: "/etc/sfm-sidecar/sidecar.env"}
}

func TestShippedUnit(t *testing.T) {
	want, err := os.ReadFile("../../init/sfm-sidecar.service")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), shipped().Unit()); diff != "" {
		t.Errorf("init/sfm-sidecar.service is another unit (-file +code):\n%s", diff)
	}
}

func TestUnits(t *testing.T) {
	const odd = `/srv/100 % "sure" $HOME \ æ/sidecar.env`
	for name, test := range map[string]struct {
		d     Definition
		has   []string
		lacks []string
	}{
		"dynamic user": {
			d: shipped(),
			has: []string{
				"DynamicUser=yes\n", "LoadCredential=sidecar.env:/etc/sfm-sidecar/sidecar.env\n", "Environment=SIDECAR_ENV_FILE=%d/sidecar.env\n",
				"ProtectSystem=strict\n", "CapabilityBoundingSet=\n", "WantedBy=multi-user.target\n", "RestartPreventExitStatus=2\n",
			},
			lacks: []string{"\nUser=", "ReadWritePaths"},
		},
		"account": {
			d: Definition{Name: "epj", Program: "/opt/s", EnvFile: odd, Account: "sfm", LogFile: "/srv/log/s.log"},
			has: []string{
				"\nUser=sfm\n", `Environment="SIDECAR_ENV_FILE=/srv/100 %% \"sure\" $HOME \\ æ/sidecar.env"`, `ReadWritePaths="-/srv/log"`,
				`"--name" "epj" "--log-file" "/srv/log/s.log"`, "NoNewPrivileges=yes\n", "PrivateTmp=yes\n",
			},
			lacks: []string{"DynamicUser", "LoadCredential"},
		},
		"user": {
			d:     Definition{Name: "epj", Program: "/opt/s", EnvFile: "/home/kari/s.env", User: true, LogFile: "/home/kari/a $b.log"},
			has:   []string{"NoNewPrivileges=yes\n", "WantedBy=default.target\n", `"/home/kari/a $$b.log"`, `"SIDECAR_ENV_FILE=/home/kari/s.env"`},
			lacks: []string{"DynamicUser", "\nUser=", "ProtectSystem", "ReadWritePaths", "StateDirectory"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			unit := test.d.Unit()
			for _, want := range append(test.has, "Type=notify\n", "SystemCallFilter=@system-service\n") {
				if !strings.Contains(unit, want) {
					t.Errorf("lacks %q:\n%s", want, unit)
				}
			}
			for _, bad := range test.lacks {
				if strings.Contains(unit, bad) {
					t.Errorf("holds %q", bad)
				}
			}
		})
	}
}

// TestVerified asks systemd itself, where it is installed.
func TestVerified(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("there is no systemd-analyze on this machine")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	account, user := shipped(), shipped()
	account.Account, account.LogFile, account.EnvFile = "daemon", "/var/log/else where/s.log", "/etc/100 % sure $HOME.env"
	user.User, user.LogFile = true, "/home/kari/s.log"
	for name, d := range map[string]Definition{"dynamic": shipped(), "account": account, "user": user} {
		t.Run(name, func(t *testing.T) {
			d.Program = program
			file := filepath.Join(t.TempDir(), "sfm-sidecar.service")
			if err := os.WriteFile(file, []byte(d.Unit()), 0o644); err != nil {
				t.Fatal(err)
			}
			args := []string{"verify", "--man=no"}
			if d.User {
				t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
				args = append(args, "--user")
			}
			out, err := exec.CommandContext(t.Context(), analyze, append(args, file)...).CombinedOutput()
			if err != nil || bytes.Contains(out, []byte("sfm-sidecar.service")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestPlist(t *testing.T) {
	t.Setenv("HOME", "/Users/kari")
	d := Definition{Name: "epj", Program: "/opt/a & <b>", EnvFile: "/opt/s.env", User: true}
	text := d.Plist()
	decoder := xml.NewDecoder(strings.NewReader(text))
	var words []string
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if chars, ok := token.(xml.CharData); ok && strings.TrimSpace(string(chars)) != "" {
			words = append(words, string(chars))
		}
	}
	want := []string{
		"Label", "epj", "ProgramArguments", "/opt/a & <b>", "service", "run", "--name", "epj",
		"--log-file", "/Users/kari/Library/Logs/epj/sidecar.log", "EnvironmentVariables", "SIDECAR_ENV_FILE", "/opt/s.env",
	}
	if diff := cmp.Diff(want, words[:len(want)]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d.User, d.Account = false, "_sfm"; !strings.Contains(d.Plist(), "<key>UserName</key>\n<string>_sfm</string>") ||
		!strings.Contains(d.Plist(), ">/Library/Logs/epj/sidecar.log<") {
		t.Errorf("a daemon's definition is\n%s", d.Plist())
	}
}

func TestWindows(t *testing.T) {
	d := Definition{Name: DefaultName, Program: `C:\Program Files\SFM\sidecar.exe`, EnvFile: `C:\ProgramData\SFM\sidecar.env`}
	c := d.config("windows")
	if c.UserName != `NT SERVICE\sfm-sidecar` {
		t.Errorf("it runs as %q", c.UserName)
	}
	if diff := cmp.Diff(map[string]string{EnvFileVariable: d.EnvFile}, c.EnvVars); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	d.Account, d.Name = `CLINIC\sfm$`, "second"
	if c = d.config("windows"); c.UserName != d.Account || c.DisplayName == displayName {
		t.Errorf("it runs as %q, shown as %q", c.UserName, c.DisplayName)
	}
}

func TestRefused(t *testing.T) {
	for _, test := range []struct {
		goos, option string
		change       func(*Definition)
	}{
		{"linux", "", func(*Definition) {}},
		{"linux", "--name", func(d *Definition) { d.Name = "a b" }},
		{"linux", "--name", func(d *Definition) { d.Name = "" }},
		{"linux", "--name", func(d *Definition) { d.Name = "-x" }},
		{"linux", "--env-file", func(d *Definition) { d.EnvFile = "sidecar.env" }},
		{"linux", "--env-file", func(d *Definition) { d.EnvFile = "/a\nUser=root" }},
		{"linux", "--env-file", func(d *Definition) { d.EnvFile = "/{{Path}}" }},
		{"linux", "--env-file", func(d *Definition) { d.EnvFile = `/etc/sidecar.env\` }},
		{"linux", "--env-file", func(d *Definition) { d.EnvFile = "/etc/sidecar.env " }},
		{"linux", "the program", func(d *Definition) { d.Program = "sidecar" }},
		{"linux", "--log-file", func(d *Definition) { d.LogFile = "x.log" }},
		{"linux", "--log-file", func(d *Definition) { d.LogFile = "/srv/x.log" }},
		{"linux", "--log-file", func(d *Definition) { d.LogFile = "/var/log/sfm-sidecar/../x.log" }},
		{"linux", "", func(d *Definition) { d.LogFile = "/var/log/sfm-sidecar/x.log" }},
		{"linux", "", func(d *Definition) { d.LogFile, d.Account = "/srv/x.log", "sfm" }},
		{"linux", "--account", func(d *Definition) { d.Account = "root" }},
		{"linux", "--account", func(d *Definition) { d.Account = "a\nb" }},
		{"linux", "--account", func(d *Definition) { d.Account = "0" }},
		{"linux", "", func(d *Definition) { d.Account = "sfm0" }},
		{"linux", "--account", func(d *Definition) { d.Account, d.User = "sfm", true }},
		{"darwin", "--account", func(*Definition) {}},
		{"darwin", "--account", func(d *Definition) { d.Account = "root" }},
		{"darwin", "--account", func(d *Definition) { d.Account = "00" }},
		{"darwin", "", func(d *Definition) { d.Account = "_sfm" }},
		{"darwin", "", func(d *Definition) { d.User = true }},
		{"windows", "the program", func(*Definition) {}}, // a path of Linux
		{"windows", "", func(d *Definition) { d.Program, d.EnvFile = `C:\s.exe`, `\\server\share\s.env` }},
		{"windows", "--account", func(d *Definition) { d.Program, d.EnvFile, d.Account = `C:\s.exe`, `C:\s.env`, `NT AUTHORITY\System` }},
		{"windows", "--account", func(d *Definition) { d.Program, d.EnvFile, d.Account = `C:\s.exe`, `C:\s.env`, "localsystem" }},
		{"windows", "", func(d *Definition) {
			d.Program, d.EnvFile, d.Account = `C:\s.exe`, `C:\s.env`, `NT AUTHORITY\LocalService`
		}},
		{"windows", "--user", func(d *Definition) { d.User = true }},
	} {
		d := shipped()
		test.change(&d)
		err := d.checkName(test.goos)
		if err == nil {
			err = d.check(test.goos)
		}
		var option string
		if f, ok := errors.AsType[*Fault](err); ok {
			option = f.Option
		}
		if option != test.option {
			t.Errorf("%s %+v: refused for %q (%v), want %q", test.goos, d, option, err, test.option)
		}
	}
}

func TestLogIsRotated(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log", "sidecar.log")
	log, err := openLog(name, 100, 3)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 40 { // 10 bytes each: five files, of which four are left
		if _, err := fmt.Fprintf(log, "line %04d\n", n); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Write([]byte("late")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("writing to a closed log: %v", err)
	}
	first := map[string]string{}
	files, _ := filepath.Glob(name + "*")
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(content) > 100 || len(content)%10 != 0 {
			t.Errorf("%s has %d bytes", f, len(content))
		}
		first[strings.TrimPrefix(f, name)] = string(content[:9])
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s can be read by others: %v %v", f, info.Mode(), err)
		}
	}
	if diff := cmp.Diff(map[string]string{"": "line 0030", ".1": "line 0020", ".2": "line 0010", ".3": "line 0000"}, first); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// It goes on where it was.
	if log, err = openLog(name, 100, 3); err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if _, err := log.Write([]byte("line 0040\n")); err != nil {
		t.Fatal(err)
	}
	if last, _ := os.ReadFile(name); string(last) != "line 0040\n" {
		t.Errorf("the full file was not put aside after a restart: %q", last)
	}
	if _, err := os.Stat(name + ".4"); err == nil {
		t.Error("more files are kept than said")
	}
}

// A file that can't be put aside goes on growing.
func TestLogThatCantBePutAside(t *testing.T) {
	name := filepath.Join(t.TempDir(), "sidecar.log")
	log, err := openLog(name, 20, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	if err := os.MkdirAll(filepath.Join(name+".1", "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := log.Write([]byte("line 0000\n")); err != nil {
			t.Fatal(err)
		}
	}
	if content, _ := os.ReadFile(name); len(content) != 50 {
		t.Errorf("%d bytes of 50 are there", len(content))
	}
}

// A file that can't be opened at its rotation costs the lines of that time alone.
func TestLogIsOpenedAgain(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "log")
	name := filepath.Join(folder, "sidecar.log")
	log, err := openLog(name, 20, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Write([]byte("a line of 20 bytes.\n")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(folder, folder+" is away"); err != nil {
		t.Skip("a folder with an open file can't be moved here:", err)
	}
	if _, err := log.Write([]byte("lost\n")); err == nil {
		t.Error("a lost line is no error")
	}
	if err := os.Rename(folder+" is away", folder); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Write([]byte("back\n")); err != nil {
		t.Errorf("after the folder came back: %v", err)
	}
	if content, _ := os.ReadFile(name); string(content) != "back\n" {
		t.Errorf("it holds %q", content)
	}
	if err := os.Rename(folder, folder+" is away"); err != nil {
		t.Fatal(err)
	}
	_, _ = log.Write([]byte("a line of 20 bytes.\n")) // nothing is open now
	if err := log.Close(); err != nil {
		t.Error(err)
	}
	if err := os.Rename(folder+" is away", folder); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Write([]byte("late")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("writing to a closed log: %v", err)
	}
}

// While the file itself can't be moved, those that are kept stay.
func TestKeptLogsStay(t *testing.T) {
	name := filepath.Join(t.TempDir(), "sidecar.log")
	log, err := openLog(name, 10, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	kept := func() (all []string) {
		for n := range 4 {
			content, err := os.ReadFile(log.aside(n))
			all = append(all, string(content))
			if (err == nil) != (n > 0) {
				t.Errorf("%s: %v", log.aside(n), err)
			}
		}
		return all
	}
	for n := range 6 {
		if _, err := fmt.Fprintf(log, "line %04d\n", n); err != nil {
			t.Fatal(err)
		}
	}
	before := kept()
	for range 5 {
		file, err := os.Open(name) // in the way on Windows
		if err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(name) // in the way elsewhere
		if _, err := log.Write([]byte("line more\n")); err != nil {
			t.Error(err)
		}
		file.Close()
	}
	if diff := cmp.Diff(before, kept()); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
}

func TestSeverity(t *testing.T) {
	for line, want := range map[string]severity{
		`{"time":"x","level":"ERROR","msg":"no"}` + "\n": failure,
		`{"level":"WARN","msg":"hm"}`:                    warning,
		`{"level":"INFO","msg":"an ERR in a message"}`:   information,
		"sidecar: HELSEID_ISSUER: is required":           failure,
		"sidecar: warning: SIDECAR_X: is not known":      warning,
		"12:00:00.000 ERR no":                            failure,
		"12:00:00.000 WRN hm":                            warning,
		"12:00:00.000 INF fine":                          information,
		"":                                               information,
	} {
		if got := severityOf([]byte(line)); got != want {
			t.Errorf("%q is %d, want %d", line, got, want)
		}
	}
	if got := eventText([]byte("a\x00b\r\n")); got != "a b" {
		t.Errorf("the entry is %q", got)
	}
	if got := len(eventText(bytes.Repeat([]byte("x"), 40000))); got != maxEvent {
		t.Errorf("the entry has %d characters", got)
	}
}

func TestStatusOfNothing(t *testing.T) {
	d := shipped()
	d.Name = "a service that can't be"
	if _, err := New(d); err == nil {
		t.Error("a name with blanks was taken")
	}
}

package service

import (
	"encoding/xml"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/kardianos/service"
)

const (
	displayName = "SFM sidecar"
	description = "Local reverse proxy that gives an EPJ's calls to SFM their HelseID token and DPoP proof"
)

// checkName refuses what can't name a service on some system.
func (d Definition) checkName(goos string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	if d.Name == "" || len(d.Name) > 80 || strings.Trim(d.Name, allowed) != "" || d.Name[0] == '-' {
		return &Fault{"--name", "is no name for a service", "use letters, digits, - and _, at most 80"}
	}
	if d.User && goos == "windows" {
		return &Fault{"--user", "is not to be had: Windows has no services of a user", "leave it out"}
	}
	return nil
}

// check refuses a definition that the system could not carry out, or only with
// more rights than the sidecar should have.
func (d Definition) check(goos string) error {
	for _, p := range []struct{ option, path string }{
		{"the program", d.Program}, {"--env-file", d.EnvFile}, {"--log-file", d.LogFile},
	} {
		switch {
		case p.path == "" && p.option == "--log-file":
		case !absolute(goos, p.path):
			return &Fault{p.option, "is no absolute path", "name it from the root on: a service has no folder of its own"}
		case strings.ContainsFunc(p.path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '"' }) || strings.Contains(p.path, "{{"):
			return &Fault{p.option, "holds characters that a service's definition can't", "rename it"}
		case strings.TrimRight(p.path, "\\ ") != p.path: // the next line would go on with it; nobody sees a blank
			return &Fault{p.option, "ends in a blank or a backslash", "rename it"}
		}
	}
	const named = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	// A number is a user too, and 0 is root.
	number := d.Account != "" && strings.Trim(d.Account, "0123456789") == ""
	switch plain := strings.Trim(d.Account, named) == "" && !number; {
	case d.Account != "" && d.User:
		return &Fault{"--account", "is for a system service alone", "leave it out: a user's service runs as that user"}
	case goos == "linux" && !plain:
		return &Fault{"--account", "is no user's name", "name an existing user"}
	case goos == "darwin" && !d.User && (d.Account == "" || d.Account == "root" || !plain):
		return &Fault{"--account", "is needed: launchd would run the service as root", "name an existing user with no other rights, or install with --user"}
	case goos == "linux" && d.Account == "root", goos == "windows" && privileged(d.Account):
		return &Fault{"--account", "may do everything on this machine", "leave it out, or name a user with no other rights"}
	case goos == "linux" && !d.User && d.Account == "" && d.LogFile != "" && path.Dir(path.Clean(d.LogFile)) != d.logFolder():
		return &Fault{"--log-file", "is where a dynamic user can't write", "put it into " + d.logFolder() + ", or name an --account that may write there"}
	}
	return nil
}

// absolute says whether a path starts at the root, by the rules of goos.
func absolute(goos, name string) bool {
	if goos == "windows" {
		return len(name) > 3 && name[1] == ':' && (name[2] == '\\' || name[2] == '/') || strings.HasPrefix(name, `\\`)
	}
	return strings.HasPrefix(name, "/")
}

// privileged says whether an account of Windows is that of the system itself.
func privileged(account string) bool {
	_, name, qualified := strings.Cut(account, `\`)
	if !qualified {
		name = account
	}
	return strings.EqualFold(name, "LocalSystem") || strings.EqualFold(name, "SYSTEM")
}

// logFolder is the folder that systemd makes for a system service (LogsDirectory=).
func (d Definition) logFolder() string { return "/var/log/" + d.Name }

// arguments are those of the program when the service manager starts it.
func (d Definition) arguments(goos string) []string {
	arguments := []string{"service", "run", "--name", d.Name}
	if file := d.logFile(goos); file != "" {
		arguments = append(arguments, "--log-file", file)
	}
	return arguments
}

func (d Definition) logFile(goos string) string {
	if d.LogFile != "" || goos != "darwin" {
		return d.LogFile
	}
	folder := "/Library/Logs"
	if home, err := os.UserHomeDir(); d.User && err == nil {
		folder = filepath.Join(home, "Library/Logs")
	}
	return filepath.Join(folder, d.Name, "sidecar.log")
}

// config is the definition in the library's words.
func (d Definition) config(goos string) *service.Config {
	c := &service.Config{
		Name: d.Name, DisplayName: displayName, Description: description,
		Executable: d.Program, Arguments: d.arguments(goos), UserName: d.Account,
		EnvVars: map[string]string{EnvFileVariable: d.EnvFile},
		Option:  service.KeyValue{"UserService": d.User},
	}
	switch goos {
	case "linux":
		c.Option["SystemdScript"] = d.Unit()
	case "darwin":
		c.Option["LaunchdConfig"] = d.Plist()
	case "windows":
		if d.Account == "" {
			// A virtual account: it has no password, exists for this service alone, and
			// files can be shared with it by this name.
			c.UserName = `NT SERVICE\` + d.Name
		}
		c.Option["OnFailure"] = "restart"
		c.Option["OnFailureDelayDuration"] = "5s"
		c.Option["OnFailureResetPeriod"] = 3600
		if d.Name != DefaultName {
			c.DisplayName += " (" + d.Name + ")"
		}
	}
	return c
}

// Plist is the definition for launchd (launchd.plist(5)).
func (d Definition) Plist() string {
	var b strings.Builder
	text := func(tag, value string) {
		b.WriteString("<" + tag + ">")
		_ = xml.EscapeText(&b, []byte(value)) // a Builder takes everything
		b.WriteString("</" + tag + ">\n")
	}
	pair := func(key, value string) { text("key", key); text("string", value) }
	b.WriteString(xml.Header + `<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">` +
		"\n<plist version=\"1.0\">\n<dict>\n")
	pair("Label", d.Name)
	b.WriteString("<key>ProgramArguments</key>\n<array>\n")
	for _, a := range append([]string{d.Program}, d.arguments("darwin")...) {
		text("string", a)
	}
	b.WriteString("</array>\n<key>EnvironmentVariables</key>\n<dict>\n")
	pair(EnvFileVariable, d.EnvFile)
	b.WriteString("</dict>\n")
	if d.Account != "" {
		pair("UserName", d.Account)
	}
	// Started again after a failure, not after an orderly end; never more often than
	// every 10 s. ExitTimeOut is above the longest delay of an orderly end.
	b.WriteString("<key>RunAtLoad</key>\n<true/>\n" +
		"<key>KeepAlive</key>\n<dict>\n<key>SuccessfulExit</key>\n<false/>\n</dict>\n" +
		"<key>ThrottleInterval</key>\n<integer>10</integer>\n" +
		"<key>ExitTimeOut</key>\n<integer>150</integer>\n" +
		"<key>Umask</key>\n<integer>63</integer>\n" + // 0077
		"<key>ProcessType</key>\n<string>Interactive</string>\n" + // a person waits for each call: not slowed down
		"</dict>\n</plist>\n")
	return b.String()
}

package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// How large the files may be that the environment names. Both limits are far
// above any honest use; they keep a wrong path (a device, a log) from filling
// the memory.
const (
	maxEnvFile = 1 << 20
	maxSecret  = 256 << 10
)

// readEnvFile reads the variables of SIDECAR_ENV_FILE. A file that others may
// read gets a warning: it is meant to hold the client's private key.
func readEnvFile(path string, found *findings) map[string]string {
	const variable = "SIDECAR_ENV_FILE"
	content, err := readBounded(path, maxEnvFile)
	if err != nil {
		found.fault(variable, "can't be read: "+err.Error(), "name a readable file, or unset it")
		return map[string]string{}
	}
	vars, err := parseEnvFile(content)
	if err != nil {
		found.fault(variable, err.Error(), "mend that line: NAME=value, a comment that starts with #, or nothing")
		return map[string]string{}
	}
	if _, nested := vars[variable]; nested {
		found.warn(variable, "is also set in the file it names, where it has no effect", "take it out of the file")
		delete(vars, variable)
	}
	if wide, err := OthersMayRead(path); err == nil && wide {
		found.warn(variable, "names a file that every user of this machine can read or change", "take that right away: chmod o-rwx, and o-w for its folder; icacls on Windows")
	}
	return vars
}

// parseEnvFile reads NAME=value lines. Blank lines and lines that start with #
// are skipped, and so is the word export before a name.
//
// A value may stand in single quotes (taken as it is) or in double quotes (where
// \" and \\ mean " and \, and any other backslash itself, so that Windows paths
// survive). In an unquoted value a # after white space starts a comment. Values
// end with their line; a key of several lines belongs into a file of its own.
//
// Errors name the line by its number only: the line may hold a secret.
func parseEnvFile(content string) (map[string]string, error) {
	vars := make(map[string]string)
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(content, "\ufeff")) { // Windows editors like to write the mark
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, raw, ok := strings.Cut(line, "=")
		name = strings.TrimSpace(strings.TrimPrefix(name, "export "))
		if !ok || !isVariableName(name) {
			return nil, fmt.Errorf("line %d is not NAME=value", number)
		}
		if _, twice := vars[name]; twice {
			return nil, fmt.Errorf("line %d sets %s for the second time", number, name)
		}
		value, err := unquote(raw)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		vars[name] = value
	}
	return vars, nil
}

func isVariableName(name string) bool {
	if name == "" || '0' <= name[0] && name[0] <= '9' {
		return false
	}
	return strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// unquote returns what the text after the = of an env file's line means.
func unquote(text string) (string, error) {
	if strings.ContainsRune(text, 0) {
		return "", errors.New("the value holds a NUL character")
	}
	raw := strings.TrimSpace(text)
	if raw == "" || raw[0] != '\'' && raw[0] != '"' {
		return strings.TrimSpace(cutComment(text)), nil
	}
	var value strings.Builder
	for i := 1; i < len(raw); i++ {
		switch {
		case raw[i] == raw[0]:
			if rest := strings.TrimSpace(raw[i+1:]); rest != "" && rest[0] != '#' {
				return "", errors.New("something follows the closing quote")
			}
			return value.String(), nil
		case raw[0] == '"' && raw[i] == '\\' && i+1 < len(raw) && (raw[i+1] == '"' || raw[i+1] == '\\'):
			i++
			value.WriteByte(raw[i])
		default:
			value.WriteByte(raw[i])
		}
	}
	return "", errors.New("the closing quote is missing")
}

// cutComment cuts an unquoted value at a # that white space precedes.
func cutComment(text string) string {
	for i := 1; i < len(text); i++ {
		if text[i] == '#' && (text[i-1] == ' ' || text[i-1] == '\t') {
			return text[:i]
		}
	}
	return text
}

// twinSuffix makes the name of the variable that names a secret's file.
const twinSuffix = "_FILE"

// readTwins puts the content of the files that the _FILE twins name in the place
// of the secrets themselves. White space at the end is cut off: editors and
// "echo" leave a line end that is no part of the secret.
func readTwins(vars map[string]string, found *findings) {
	for _, variable := range variables() {
		path, ok := vars[variable.Name+twinSuffix]
		if !ok || !variable.Secret {
			continue
		}
		twin := variable.Name + twinSuffix
		if vars[variable.Name] != "" {
			found.fault(twin, "is set together with "+variable.Name, "unset one of the two")
			continue
		}
		content, err := readBounded(path, maxSecret)
		switch content = strings.TrimRight(content, " \t\r\n"); {
		case err != nil:
			found.fault(twin, "can't be read: "+err.Error(), "name a readable file of at most 256 KiB; the secret itself belongs in "+variable.Name)
		case content == "":
			found.fault(twin, "names a file that is empty", "write the secret into it")
		default:
			vars[variable.Name] = content
		}
	}
}

// readBounded reads a whole file of at most limit bytes. Its errors do not repeat
// the path: where a path belongs, a hasty hand may have put the secret itself. What is
// no regular file is not opened: a named pipe would hold up the start.
func readBounded(path string, limit int64) (string, error) {
	switch info, err := os.Stat(path); {
	case err != nil:
		return "", pathless(err)
	case info.IsDir():
		return "", errors.New("it is a directory")
	case !info.Mode().IsRegular() && path != os.DevNull:
		return "", errors.New("it is no regular file")
	}
	file, err := os.Open(path)
	if err != nil {
		return "", pathless(err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return "", pathless(err)
	}
	if int64(len(content)) > limit {
		return "", fmt.Errorf("it is larger than %d bytes", limit)
	}
	return string(content), nil
}

// pathless is a file's error without the file's name.
func pathless(err error) error {
	if named, ok := errors.AsType[*fs.PathError](err); ok {
		return named.Err
	}
	return err
}

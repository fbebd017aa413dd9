package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestSecretHides(t *testing.T) {
	const value = "hush-hush"
	secret := NewSecret(value)
	var shown strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		fmt.Fprintf(&shown, verb+verb, secret, struct{ S Secret }{secret})
		fmt.Fprintf(&shown, verb, struct{ s Secret }{secret}) // fmt calls no methods here
	}
	text, err := json.Marshal(map[string]any{"s": secret, "m": map[Secret]int{secret: 1}})
	if err != nil {
		t.Fatal(err)
	}
	shown.Write(text)
	slog.New(slog.NewTextHandler(&shown, nil)).Info("m", "s", secret, "in", struct{ S Secret }{secret})
	slog.New(slog.NewJSONHandler(&shown, nil)).Info("m", "s", secret, "in", struct{ S Secret }{secret})
	shown.WriteString(fmt.Sprint(secret, &secret, []Secret{secret}) + errors.New(secret.String()).Error())
	if strings.Contains(shown.String(), value) || strings.Contains(shown.String(), fmt.Sprintf("%x", value)) {
		t.Error("the secret shows")
	}
	if secret.Reveal() != value {
		t.Error("Reveal does not give the secret back")
	}
	if !secret.Equal(NewSecret(value)) || secret.Equal(NewSecret("hush")) || secret.Equal(Secret{}) {
		t.Error("Equal is wrong")
	}
	if (Secret{}).String() != "" || NewSecret("").String() != "" {
		t.Error("an empty secret looks like a set one")
	}
}

// TestTablesAgree sees that tags, meanings and refusals speak of the same
// variables, and that a field's name leads to one variable.
func TestTablesAgree(t *testing.T) {
	fields := make(map[string]string)
	tagged := make(map[string]bool)
	for _, v := range variables() {
		tagged[v.Name] = true
		if v.Meaning == "" || !slices.Contains(sections, v.Section) {
			t.Errorf("%s has no meaning in docs.go", v.Name)
		}
		if other, taken := fields[v.field]; taken {
			t.Errorf("%s and %s have fields of the same name, %s", v.Name, other, v.field)
		}
		fields[v.field] = v.Name
	}
	for name := range meanings {
		if !tagged[name] {
			t.Errorf("docs.go explains %s, which no field has", name)
		}
	}
	for _, row := range notYet {
		if !tagged[row.variable] {
			t.Errorf("notyet.go refuses %s, which no field has", row.variable)
		}
	}
	for room := range reflect.TypeFor[Config]().Fields() {
		for field := range room.Type.Fields() {
			if field.Tag.Get("env") == "" {
				t.Errorf("field %s has no env tag", field.Name)
			}
		}
	}
}

func TestEdits(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"kitten", "sitting", 3}, {"ISUER", "ISSUER", 1}} {
		if got := edits(test.a, test.b); got != test.want {
			t.Errorf("edits(%q, %q) = %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestParseEnvFile(t *testing.T) {
	tests := []struct {
		file, want string // want is the value of A; "!" starts an error's text
	}{
		{"A=1", "1"},
		{"\ufeffA=1\r\n", "1"},
		{" export A = 1 2 ", "1 2"},
		{"A=1 # one", "1"},
		{"A=1#one", "1#one"},
		{"A=#one", "#one"},
		{"A= # one", ""},
		{"A=", ""},
		{"A='1 # \" \\' # one", `1 # " \`},
		{`A="say \"x\" \\ C:\new"`, `say "x" \ C:\new`},
		{`A={"kty":"EC","d":"a=b"}`, `{"kty":"EC","d":"a=b"}`},
		{"# A=0\n\nA=1", "1"},
		{"A=1\nA=2", "!line 2 sets A for the second time"},
		{"A", "!line 1 is not NAME=value"},
		{"=x", "!line 1 is not"},
		{"1A=x", "!line 1 is not"},
		{"A B=x", "!line 1 is not"},
		{"A='x", "!closing quote"},
		{`A="x\"`, "!closing quote"},
		{"A='x' y", "!follows"},
		{"A=x\x00y", "!NUL"},
	}
	for _, test := range tests {
		vars, err := parseEnvFile(test.file)
		want, fails := strings.CutPrefix(test.want, "!")
		if fails != (err != nil) || !fails && vars["A"] != want {
			t.Errorf("%q: got %q, %v, want %q", test.file, vars["A"], err, test.want)
		}
		if fails && err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %q does not say %q", test.file, err, want)
		}
	}
}

func FuzzEnvFile(f *testing.F) {
	f.Add("A=1\nB='x y' # z\n")
	f.Add("\ufeffexport A=\"\\\"\\\\\"\r\n# x")
	f.Fuzz(func(t *testing.T, content string) {
		vars, err := parseEnvFile(content)
		if err != nil {
			return
		}
		for name, value := range vars {
			if !isVariableName(name) || strings.ContainsAny(value, "\n\x00") {
				t.Errorf("read the name %q with a value of %d bytes", name, len(value))
			}
		}
		for name, value := range vars { // what is written in single quotes comes back
			if strings.Contains(value, "'") {
				continue
			}
			again, err := parseEnvFile(name + "='" + value + "'")
			if err != nil || again[name] != value {
				t.Errorf("%q does not come back: %v", value, err)
			}
		}
	})
}

func FuzzUpstreams(f *testing.F) {
	for _, seed := range []string{
		"basis=https://h.example,session=https://s.example/v2/", "https://h.example", "a=http://[::1]:80/x%2fy",
		"a=https://BLÅBÆR.example:443/$x", "a=https://h/..", "a=https://u:p@h", "=", ",", "a=https://h?x#y",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		upstreams, err := parseUpstreams(value)
		if err != nil {
			return
		}
		for _, upstream := range upstreams {
			checkNormal(t, upstream.URL)
		}
	})
}

// checkNormal sees that an accepted address is safe to build on, and that reading
// it again changes nothing.
func checkNormal(t *testing.T, u *url.URL) {
	t.Helper()
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		t.Errorf("%q is neither https nor loopback", u)
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Host == "":
		t.Errorf("%q has parts that it must not have", u)
	case u.Host != strings.ToLower(u.Host) || strings.HasSuffix(u.Path, "/") || hasDotSegment(u.Path):
		t.Errorf("%q is not normal", u)
	}
	again, err := parseUpstreamURL(u.String())
	if err != nil || again.String() != u.String() {
		t.Errorf("%q becomes %v, %v", u, again, err)
	}
}

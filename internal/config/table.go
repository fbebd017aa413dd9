package config

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Variable is one environment variable as the documentation shows it.
type Variable struct {
	Name     string
	Default  string // as written in the environment, or in words; "" = none
	Required bool   // without a value the sidecar does not start
	Secret   bool   // its value is never shown, and it has a _FILE twin
	Meaning  string // Markdown
	Section  string // the heading that it stands under
	NotYet   string // what of it this version refuses; "" = nothing

	field string // the name of its field, unique in Config
}

// Table returns every variable, in the order of the documentation.
func Table() []Variable {
	all := variables()
	order := func(v Variable) int { return slices.Index(sections, v.Section) }
	slices.SortStableFunc(all, func(a, b Variable) int { return order(a) - order(b) })
	return all
}

// variables returns every variable in the order of the fields of Config.
func variables() []Variable {
	var all []Variable
	for room := range reflect.TypeFor[Config]().Fields() {
		for field := range room.Type.Fields() {
			tag := field.Tag.Get("env")
			name, option, _ := strings.Cut(tag, ",")
			if name == "" || name == "-" {
				continue
			}
			words := meanings[name]
			v := Variable{
				Name:     name,
				Default:  field.Tag.Get("envDefault"),
				Required: option == "required",
				Secret:   field.Type == reflect.TypeFor[Secret](),
				Meaning:  words.meaning,
				Section:  words.section,
				NotYet:   refused(name),
				field:    field.Name,
			}
			if words.unset != "" {
				v.Default = words.unset
			}
			all = append(all, v)
		}
	}
	return all
}

// refused says what of a variable this version does not do.
func refused(name string) string {
	var parts []string
	for _, row := range notYet {
		if row.variable == name {
			parts = append(parts, row.problem)
		}
	}
	return strings.Join(parts, ", ")
}

// fieldVariables maps the names of fields, which the library's errors carry, to
// their variables.
func fieldVariables() map[string]string {
	names := make(map[string]string)
	for _, v := range variables() {
		names[v.field] = v.Name
	}
	return names
}

// describe says in a few words what a variable holds: the first sentence of its
// meaning, without its marks.
func describe(name string) string {
	first, _, _ := strings.Cut(meanings[name].meaning, ". ")
	first, _, _ = strings.Cut(first, ": ")
	return strings.TrimSuffix(strings.ReplaceAll(first, "`", ""), ".")
}

// WriteMarkdown writes docs/configuration.md.
func WriteMarkdown(w io.Writer) error {
	var page strings.Builder
	page.WriteString(preface)
	section := ""
	for _, v := range Table() {
		if v.Section != section {
			section = v.Section
			fmt.Fprintf(&page, "\n## %s\n\n| variable | default | meaning |\n| --- | --- | --- |\n", section)
		}
		fmt.Fprintf(&page, "| %s | %s | %s |\n", v.markdownName(), v.markdownDefault(), v.markdownMeaning())
	}
	_, err := io.WriteString(w, page.String())
	return err
}

func (v Variable) markdownName() string {
	if v.Secret {
		return "`" + v.Name + "` (`" + twinSuffix + "`)"
	}
	return "`" + v.Name + "`"
}

func (v Variable) markdownDefault() string {
	switch {
	case v.Required:
		return "required"
	case v.Default == "":
		return "empty"
	case meanings[v.Name].unset != "":
		return v.Default // words, with marks of their own
	}
	return "`" + v.Default + "`"
}

func (v Variable) markdownMeaning() string {
	text := strings.ReplaceAll(v.Meaning, "|", `\|`)
	if v.NotYet != "" {
		text += ". **Not yet supported by this version: " + v.NotYet + "**"
	}
	return text
}

// WriteCurrent writes the tables with the values that an environment gives, for
// the command "sidecar env". Secrets are hidden, and so are the user information of
// every address and what looks like a secret in the wrong place. What can't be read is left to [Load] to complain about.
func WriteCurrent(w io.Writer, environ []string) error {
	var unheard findings
	vars := gather(environ, &unheard)
	c := load(environ, &unheard)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	section := ""
	for _, v := range Table() {
		if v.Section != section {
			if section != "" {
				fmt.Fprintln(out)
			}
			section = v.Section
			fmt.Fprintf(out, "# %s\n", section)
		}
		value, source := v.current(vars, c)
		fmt.Fprintf(out, "%s\t%s\t%s\n", v.Name, value, source)
	}
	return out.Flush()
}

// guarded are variables whose values are the operator's own words, and may be a
// person's number or a key.
var guarded = []string{"HELSEID_LOGIN_PARAMS", "OTEL_RESOURCE_ATTRIBUTES"}

// current returns the value of a variable and where it comes from.
func (v Variable) current(vars map[string]string, c *Config) (value, source string) {
	_, set := vars[v.Name]
	path, twin := vars[v.Name+twinSuffix]
	switch {
	case v.Secret && set:
		return hidden, "set"
	case v.Secret && twin:
		if _, err := os.Stat(path); err != nil {
			path = "a file that can't be read" // it may be no path at all but the secret
		}
		return hidden, "from " + path
	case set && slices.Contains(guarded, v.Name):
		return hidden, "set"
	case set:
		return display(vars[v.Name]), "set"
	case v.Required:
		return "-", "required, not set"
	case v.Secret && v.Default != "" && meanings[v.Name].unset == "":
		return v.Default, "default"
	}
	if value = show(c.value(v.field)); value == "" {
		return "-", "default"
	}
	return display(value), "default" // one may be made of another's value
}

// display is a value on one line, without what looks like a secret.
func display(value string) string {
	if secretive.MatchString(value) {
		return hidden
	}
	return strings.Join(strings.Fields(hideUserinfo(value)), " ")
}

// value returns the value of the field with a name that is unique in Config.
func (c *Config) value(field string) any {
	for _, room := range reflect.ValueOf(c).Elem().Fields() {
		if f := room.FieldByName(field); f.IsValid() {
			return f.Interface()
		}
	}
	panic("BUG: no field " + field)
}

// show writes a resolved default as it would be written in the environment.
func show(value any) string {
	switch value := value.(type) {
	case []string:
		return strings.Join(value, " ")
	case time.Duration:
		return value.String()
	case string, bool, int, Secret:
		return fmt.Sprint(value)
	}
	return "" // maps and upstreams have no default
}

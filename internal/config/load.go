package config

import (
	"errors"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Load reads the configuration from an environment of NAME=value strings, as
// os.Environ returns it. The process's own environment is not looked at. It reads
// the files that the environment names: SIDECAR_ENV_FILE, the _FILE twins of
// secrets, and SIDECAR_CA_FILE (to see that it holds a certificate).
//
// The error, when there is one, is [Faults] and the Config nil. Warnings come
// with and without an error.
func Load(environ []string) (*Config, []Warning, error) {
	var found findings
	c := load(environ, &found)
	if len(found.faults) > 0 {
		return nil, found.warnings, found.faults
	}
	return c, found.warnings, nil
}

// load does what Load does and returns the Config even when it has faults.
func load(environ []string, found *findings) *Config {
	vars := gather(environ, found)
	warnUnknown(vars, found)
	c := &Config{}
	c.HelseID.ClientJWKFile = vars["HELSEID_CLIENT_JWK"+twinSuffix]
	readTwins(vars, found)
	parse(c, vars, found)
	refuseNotYet(vars, found)
	c.resolve(vars)
	check(c, vars, found)
	return c
}

// gather makes a map of the environment and of the env file it names. Empty
// values are left out: they mean "unset" everywhere in this package.
func gather(environ []string, found *findings) map[string]string {
	vars := env.ToMap(environ)
	dropEmpty(vars)
	if path, ok := vars["SIDECAR_ENV_FILE"]; ok {
		fromFile := readEnvFile(path, found)
		dropEmpty(fromFile)
		maps.Copy(fromFile, vars) // the environment wins
		vars = fromFile
	}
	for _, name := range []string{"HTTPS_PROXY", "NO_PROXY"} { // also customary in lower case
		if lower, ok := vars[strings.ToLower(name)]; ok && vars[name] == "" {
			vars[name] = lower
		}
	}
	return vars
}

func dropEmpty(vars map[string]string) {
	maps.DeleteFunc(vars, func(_, value string) bool { return strings.TrimSpace(value) == "" })
}

// parse fills in the fields of c from the variables, and turns what the library
// complains about into faults.
func parse(c *Config, vars map[string]string, found *findings) {
	err := env.ParseWithOptions(c, env.Options{Environment: vars, FuncMap: parsers()})
	if err == nil {
		return
	}
	all, ok := errors.AsType[env.AggregateError](err)
	if !ok {
		panic("BUG: the configuration's structure: " + err.Error())
	}
	names := fieldVariables()
	for _, err := range all.Errors {
		if unset, ok := errors.AsType[env.VarIsNotSetError](err); ok {
			faultUnset(unset.Key, found)
			continue
		}
		broken, ok := errors.AsType[env.ParseError](err)
		if !ok {
			panic("BUG: the configuration's structure: " + err.Error())
		}
		faultValue(names[broken.Name], broken.Err, found)
	}
}

// faultUnset reports a required variable that is missing, unless the file meant
// to hold it already has a fault of its own.
func faultUnset(variable string, found *findings) {
	if found.has(variable) || found.has(variable+twinSuffix) {
		return
	}
	mend := "set it to " + describe(variable)
	if slices.ContainsFunc(variables(), func(v Variable) bool { return v.Name == variable && v.Secret }) {
		mend += ", or " + variable + twinSuffix + " to a file that holds it"
	}
	found.fault(variable, "is required and not set", mend)
}

// faultValue reports every Fault that a parser joined into err.
func faultValue(variable string, err error, found *findings) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			faultValue(variable, one, found)
		}
		return
	}
	if fault, ok := errors.AsType[Fault](err); ok {
		found.fault(variable, fault.Problem, fault.Mend)
		return
	}
	// What is left are the library's own parsers of numbers and truth values.
	problem, mend := "is not a whole number", "write digits only, such as 16"
	if number, ok := errors.AsType[*strconv.NumError](err); ok && number.Func == "ParseBool" {
		problem, mend = "is neither true nor false", "write true or false"
	}
	found.fault(variable, problem, mend)
}

// parsers are the forms of values that the library does not know, or reads
// otherwise than we mean them.
func parsers() map[reflect.Type]env.ParserFunc {
	return map[reflect.Type]env.ParserFunc{
		reflect.TypeFor[[]string]():            func(v string) (any, error) { return words(v), nil },
		reflect.TypeFor[time.Duration]():       func(v string) (any, error) { return duration(v) },
		reflect.TypeFor[map[string]string]():   func(v string) (any, error) { return pairs(v) },
		reflect.TypeFor[map[string][]string](): func(v string) (any, error) { return wordPairs(v) },
		reflect.TypeFor[url.Values]():          func(v string) (any, error) { return values(v) },
		reflect.TypeFor[[]Upstream]():          func(v string) (any, error) { return parseUpstreams(v) },
		reflect.TypeFor[string]():              func(v string) (any, error) { return strings.TrimSpace(v), nil },
	}
}

// resolve fills in the defaults that depend on other variables.
func (c *Config) resolve(vars map[string]string) {
	scope, migration := "sfm.api2", "sfm-migrering.api2"
	if c.SFM.API == APIv1 {
		scope, migration = "sfm.api", "sfm-migrering.api"
	}
	if c.HelseID.Scopes == nil {
		c.HelseID.Scopes = []string{scopePrefix + scope}
	}
	for i := range c.SFM.Upstreams {
		c.resolveUpstream(&c.SFM.Upstreams[i], scopePrefix+migration)
	}
	if c.Tenants.Policy == "" {
		c.Tenants.Policy = PolicyAny
		if c.Tenants.File != "" {
			c.Tenants.Policy = PolicyListed
		}
	}
	if c.Tenants.SelvbetjeningURL == "" {
		c.Tenants.SelvbetjeningURL = selvbetjening[strings.TrimSuffix(c.HelseID.Issuer, "/")]
	}
	if c.Listen.Callback == "" && !isSocket(c.Listen.Address) {
		c.Listen.Callback = c.Listen.Address
	}
	if _, set := vars["SIDECAR_MAX_SIGTERM_DELAY"]; !set { // 0s, when said, means at once
		c.Keep.MaxSigtermDelay = c.SFM.ResponseTimeout + 10*time.Second
	}
	lowerAll(c.Listen.AllowedHosts)
	lowerAll(c.Listen.AllowedOrigins)
}

func (c *Config) resolveUpstream(upstream *Upstream, migrationScope string) {
	switch scopes, ok := c.SFM.UpstreamScopes[upstream.Name]; {
	case ok:
		upstream.Scopes = scopes
	case upstream.Name == "migration":
		upstream.Scopes = []string{migrationScope}
	default:
		upstream.Scopes = slices.Clone(c.HelseID.Scopes)
	}
	upstream.Audience = SFMAudience
	if audience, ok := c.SFM.UpstreamAudiences[upstream.Name]; ok {
		upstream.Audience = audience
	}
}

func lowerAll(words []string) {
	for i, word := range words {
		words[i] = strings.ToLower(word)
	}
}

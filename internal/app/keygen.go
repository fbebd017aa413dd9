package app

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	"sfm-sidecar/internal/keyfile"
)

// keygen makes a client key: the private half goes to a file, the public one to
// the standard output.
func keygen(_ context.Context, o Options) int {
	flags := flagSet(o, "keygen")
	alg := flags.String("alg", keyfile.Default, "")
	file := flags.String("o", "client.jwk", "")
	if flags.Parse(o.Args) != nil || flags.NArg() > 0 || *file == "" {
		return misused(o)
	}
	if !knownAlgorithm(o, *alg) {
		return exitUsage
	}
	if _, err := os.Lstat(*file); err == nil { // before the work; Create looks again
		_, _ = fmt.Fprintf(o.Stderr, "sidecar: %s is there already, and a key is never overwritten; name another file with -o\n", *file)
		return exitFailed
	}
	key, err := keyfile.Generate(*alg)
	if err != nil {
		return failed(o, err)
	}
	public, err := key.Public()
	if err != nil {
		return failed(o, err)
	}
	if err := keyfile.Create(*file, key); err != nil {
		return failed(o, err)
	}
	_, _ = fmt.Fprintf(o.Stderr, "The private key is in %s, which only its owner can read.\n"+
		"Register the public half, printed here, at HelseID Selvbetjening, and set HELSEID_CLIENT_JWK_FILE to the file.\n", *file)
	if _, err := fmt.Fprintf(o.Stdout, "%s\n", public); err != nil {
		return failed(o, err)
	}
	return exitDone
}

// flagSet are the options of a command, which complain in our own words.
func flagSet(o Options, name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(o.Stderr)
	flags.Usage = func() {}
	return flags
}

func knownAlgorithm(o Options, alg string) bool {
	for _, known := range keyfile.Algorithms() {
		if alg == known {
			return true
		}
	}
	_, _ = fmt.Fprintf(o.Stderr, "sidecar: -alg %q is none of %s\n", alg, strings.Join(keyfile.Algorithms(), ", "))
	return false
}

// failed prints an error, and what to do where it tells.
func failed(o Options, err error) int {
	_, _ = fmt.Fprintf(o.Stderr, "sidecar: %v\n", err)
	if mend := mendOf(err); mend != "" {
		_, _ = fmt.Fprintf(o.Stderr, "hint: %s\n", mend)
	}
	if isFault(err) {
		return exitUsage
	}
	return exitFailed
}

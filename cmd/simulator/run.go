package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"sfm-sidecar/internal/simulator"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

type streams struct{ out, err io.Writer }

// flags are what the command line says.
type flags struct {
	helseID, sfm string // addresses to listen at
	clientID     string
	publicJWK    string // file with the public key of an existing client
	writeJWK     string // file for the private key of a new one
	journals     string // file with journals, "" = none from the start
	crowd        int    // further persons
	strict       bool   // no journal is made on first use
}

// run carries out a command and returns the exit code.
func run(ctx context.Context, args []string, std streams) int {
	if len(args) > 0 {
		switch args[0] {
		case "epj":
			return runEPJ(ctx, args[1:], std)
		case "probe":
			return runProbe(ctx, args[1:], std)
		}
	}
	return serve(ctx, args, std)
}

// serve answers as HelseID and SFM until ctx ends.
func serve(ctx context.Context, args []string, std streams) int {
	given, err := parse(args, std.err)
	if errors.Is(err, flag.ErrHelp) {
		return exitDone
	}
	if err != nil {
		return std.fail(exitUsage, err)
	}
	client, keyFile, err := makeClient(given)
	if err != nil {
		return std.fail(exitFailed, err)
	}
	options, err := makeWorld(given)
	if err != nil {
		return std.fail(exitFailed, err)
	}
	options.Clients = []simulator.Client{client}
	world, err := simulator.Serve(options, given.helseID, given.sfm)
	if err != nil {
		return std.fail(exitFailed, err)
	}
	describe(std.out, world, client.ID, keyFile)
	<-ctx.Done()
	if err := world.Close(); err != nil {
		return std.fail(exitFailed, fmt.Errorf("stopping: %w", err))
	}
	return exitDone
}

func parse(args []string, usage io.Writer) (flags, error) {
	var given flags
	set := flag.NewFlagSet("simulator", flag.ContinueOnError)
	set.SetOutput(usage)
	set.StringVar(&given.helseID, "helseid", "127.0.0.1:8081", "`address` of HelseID")
	set.StringVar(&given.sfm, "sfm", "127.0.0.1:8082", "`address` of SFM")
	set.StringVar(&given.clientID, "client-id", "simulated-epj", "`id` of the registered client")
	set.StringVar(&given.publicJWK, "client-jwk", "", "`file` with the client's public JWK or JWKS")
	set.StringVar(&given.writeJWK, "write-client-jwk", "", "make a client and write its private JWK to this `file`")
	set.StringVar(&given.journals, "journals", "", "`file` with SFM's journals in JSON, as /_simulator/journals tells them")
	set.IntVar(&given.crowd, "crowd", 0, "`number` of further persons, p000, p001 and so on; at most 1000")
	set.BoolVar(&given.strict, "strict-journals", false, "make no journal on first use, as the real SFM")
	if err := set.Parse(args); err != nil {
		return given, err
	}
	if set.NArg() > 0 {
		return given, fmt.Errorf("unexpected argument %q", set.Arg(0))
	}
	if (given.publicJWK == "") == (given.writeJWK == "") {
		return given, errors.New("give one of -client-jwk (a client that has a key) and -write-client-jwk (make one)")
	}
	if given.crowd < 0 || given.crowd > 1000 {
		return given, fmt.Errorf("a crowd of %d; give 0 to 1000", given.crowd)
	}
	for _, address := range []string{given.helseID, given.sfm} {
		if err := requireLoopback(address); err != nil {
			return given, err
		}
	}
	return given, nil
}

// makeWorld reads what SFM is to hold.
func makeWorld(given flags) (simulator.Options, error) {
	knobs := simulator.DefaultKnobs()
	knobs.SFM.StrictJournals = given.strict
	options := simulator.Options{Knobs: &knobs, Persons: append(simulator.Persons(), simulator.Crowd(given.crowd)...)}
	if given.journals == "" {
		return options, nil
	}
	file, err := os.Open(given.journals)
	if err != nil {
		return options, fmt.Errorf("opening the journals: %w", err)
	}
	defer file.Close()
	options.Journals, err = simulator.ReadJournals(file)
	return options, err
}

// requireLoopback keeps a token issuer with an open control interface off the
// network.
func requireLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("address %q is not host:port", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("address %q is not loopback; the simulator gives tokens to everybody", address)
	}
	return nil
}

// ownAudience is the registered client's own API: the audience of the tokens that
// it may exchange.
const ownAudience = "simulated:epj"

// makeClient returns the registration and the file that holds the private key,
// "" when only its owner knows.
func makeClient(given flags) (simulator.Client, string, error) {
	client, private, err := simulator.NewClient(given.clientID)
	if err != nil {
		return client, "", fmt.Errorf("making a client: %w", err)
	}
	client.Grants, client.Audience = append(client.Grants, simulator.GrantTokenExchange), ownAudience
	if given.publicJWK != "" {
		if client.JWKS, err = os.ReadFile(given.publicJWK); err != nil {
			return client, "", fmt.Errorf("reading the client's public key: %w", err)
		}
		return client, "", nil
	}
	return client, given.writeJWK, writePrivate(given.writeJWK, private)
}

// writePrivate makes the file for its owner alone; an older file keeps no wider
// rights, since it is replaced.
func writePrivate(name string, content []byte) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("replacing the key file: %w", err)
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("writing the key file: %w", err)
	}
	_, err = file.Write(append(content, '\n'))
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing the key file: %w", err)
	}
	return nil
}

// describe prints what a sidecar needs to know, as lines for its environment,
// and as comments what a person might want to try.
func describe(out io.Writer, world *simulator.Running, clientID, keyFile string) {
	if keyFile == "" {
		keyFile = "<file with the private JWK>"
	} else if absolute, err := filepath.Abs(keyFile); err == nil {
		keyFile = absolute
	}
	tenant := simulator.Tenants()[0]
	lines := []string{
		"# HelseID and SFM are simulated here until interrupted. For the sidecar:",
		"export HELSEID_ISSUER=" + world.HelseID,
		"export HELSEID_CLIENT_ID=" + clientID,
		"export HELSEID_CLIENT_JWK_FILE=" + keyFile,
		"export SFM_UPSTREAMS=basis=" + world.SFM + ",session=" + world.SFM,
		"export BRREG_URL=" + world.Brreg,
		"export ADRESSEREGISTERET_URL=" + world.Adresseregisteret,
		"export SELVBETJENING_URL=" + world.Selvbetjening,
		"# Test tokens: POST " + world.TestTokens + "/v2/create-test-token-with-key with X-Auth-Key: " + simulator.TestTokenKey,
		"# A tenant to ask for: parent " + tenant.Parent + ", child " + tenant.Child + ", journal " + tenant.Journal,
		"# Persons: " + strings.Join(persons(), ", ") + "; the log-in page takes &auto=<person> and logs in by itself",
		"# Token exchange: HELSEID_SUBJECT_AUDIENCE=" + ownAudience + "; a caller's token: " + world.HelseID + "/_simulator/subject-token?person=lege&audience=" + ownAudience,
		"# Knobs: curl -X PUT " + world.HelseID + `/_simulator/knobs -d '{"helseid":{"fault":{"status":503,"count":3}}}'`,
		"# What SFM holds: " + world.SFM + "/_simulator/journals, and RF: " + world.SFM + "/_simulator/rf",
		"# What came: " + world.SFM + "/_simulator/ledger and " + world.HelseID + "/_simulator/token-requests and /_simulator/registers",
	}
	_, _ = fmt.Fprintln(out, strings.Join(lines, "\n"))
}

func persons() []string {
	var ids []string
	for _, p := range simulator.Persons() {
		ids = append(ids, p.ID)
	}
	return ids
}

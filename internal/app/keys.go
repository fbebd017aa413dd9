package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"sfm-sidecar/internal/config"
	"sfm-sidecar/internal/helseid"
	"sfm-sidecar/internal/keyfile"
	"sfm-sidecar/internal/register"
	"sfm-sidecar/internal/selvbetjening"
)

// keys lists and rotates the client's keys.
func keys(ctx context.Context, o Options) int {
	if len(o.Args) == 0 {
		return misused(o)
	}
	word := o.Args[0]
	if word == "dpop" {
		return dpopKeys(ctx, o)
	}
	flags := flagSet(o, "keys "+word)
	output := flags.String("o", "text", "")
	alg, prune := "", false
	if word == "rotate" {
		flags.StringVar(&alg, "alg", "", "")
		flags.BoolVar(&prune, "prune", false, "")
	}
	if flags.Parse(o.Args[1:]) != nil || flags.NArg() > 0 || *output != "text" && *output != "json" || word != "list" && word != "rotate" {
		return misused(o)
	}
	if alg != "" && !knownAlgorithm(o, alg) {
		return exitUsage
	}
	k, err := openKeys(o)
	if err != nil {
		return failed(o, err)
	}
	defer k.machine.close()
	k.json = *output == "json"
	if word == "list" {
		err = k.list(ctx)
	} else {
		err = k.rotate(ctx, alg, prune)
	}
	if err != nil {
		return failed(o, err)
	}
	return exitDone
}

// clientsKeys is what the commands about keys work with.
type clientsKeys struct {
	o       Options
	cfg     *config.Config
	ring    *helseid.KeyRing
	machine *machine
	api     *selvbetjening.API
	json    bool
}

func openKeys(o Options) (*clientsKeys, error) {
	cfg, _, err := config.Load(o.Environ)
	if err != nil {
		return nil, err
	}
	k := &clientsKeys{o: o, cfg: cfg}
	if k.ring, err = clientKeys(cfg.HelseID); err != nil {
		return nil, err
	}
	if k.machine, err = newMachine(cfg, k.ring); err != nil {
		return nil, err
	}
	k.api, err = k.machine.selvbetjening()
	return k, err
}

// keyRow is one key as it is shown; the names are those of -o json.
type keyRow struct {
	KID        string     `json:"kid"`
	Algorithm  string     `json:"alg,omitempty"`
	Thumbprint string     `json:"thumbprint,omitempty"`
	Signs      bool       `json:"signs"`
	InFile     bool       `json:"in_file"`
	Pending    bool       `json:"pending"`
	Registered bool       `json:"registered"`
	Origin     string     `json:"origin,omitempty"`
	Expires    *time.Time `json:"expires"` // null = not known
}

// list shows the keys here and at Selvbetjening side by side, and notes in the file
// when its keys end.
func (k *clientsKeys) list(ctx context.Context) error {
	listed, err := k.api.Keys(ctx)
	if err != nil {
		return err
	}
	rows := k.rows(listed)
	if k.json {
		return json.NewEncoder(k.o.Stdout).Encode(struct {
			Keys []keyRow `json:"keys"`
		}{rows})
	}
	out := tabwriter.NewWriter(k.o.Stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(out, "KID\tALG\tHERE\tAT HELSEID\tENDS")
	for _, row := range rows {
		_, _ = fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", plain(row.KID), dash(plain(row.Algorithm)), row.here(), row.there(), row.ends())
	}
	return out.Flush()
}

// rows are our keys in the order of the file, then what only HelseID knows.
func (k *clientsKeys) rows(listed []selvbetjening.Key) []keyRow {
	signer := k.ring.Current()
	ours := []keyRow{{KID: signer.KeyID(), Algorithm: signer.Algorithm(), Thumbprint: signer.Thumbprint()}}
	if file := k.cfg.HelseID.ClientJWKFile; file != "" {
		kept, err := keyfile.Learn(file, asRegistered(listed))
		if err != nil && !errors.Is(err, keyfile.ErrNotJWK) {
			_, _ = fmt.Fprintf(k.o.Stderr, "sidecar: warning: when the keys end could not be noted in the key file: %v\n", err)
		}
		ours[0].InFile = true
		for i, key := range kept {
			if i == 0 {
				continue // the signer
			}
			ours = append(ours, keyRow{KID: key.ID, Algorithm: key.Algorithm, Thumbprint: key.Thumbprint, InFile: true, Pending: key.Pending})
		}
	}
	ours[0].Signs = true
	seen := make(map[int]bool)
	for i := range ours {
		for j, l := range listed {
			if ours[i].is(l) {
				ours[i].register(l)
				seen[j] = true
			}
		}
	}
	for j, l := range listed {
		if !seen[j] {
			row := keyRow{KID: l.ID, Thumbprint: l.Thumbprint}
			row.register(l)
			ours = append(ours, row)
		}
	}
	return ours
}

// is reports whether HelseID means this key. An entry of the file that is no key has no
// thumbprint, and neither has every key in HelseID's list.
func (r *keyRow) is(l selvbetjening.Key) bool {
	return l.Thumbprint != "" && l.Thumbprint == r.Thumbprint || l.ID != "" && l.ID == r.KID
}

// register notes what HelseID says of a key.
func (r *keyRow) register(l selvbetjening.Key) {
	r.Registered, r.Origin = true, l.Origin
	if !l.Expires.IsZero() {
		r.Expires = &l.Expires
	}
}

func (r *keyRow) here() string {
	switch {
	case r.Signs:
		return "signs"
	case r.Pending:
		return "waits"
	case r.InFile:
		return "kept"
	}
	return "no"
}

func (r *keyRow) there() string {
	if !r.Registered {
		return "not registered"
	}
	return "registered (" + dash(plain(r.Origin)) + ")"
}

func (r *keyRow) ends() string {
	if r.Expires == nil {
		return "-"
	}
	return r.Expires.UTC().Format(time.RFC3339)
}

// plain takes from a text what would act on a terminal, or on the table it stands in.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func asRegistered(listed []selvbetjening.Key) []keyfile.Registered {
	all := make([]keyfile.Registered, 0, len(listed))
	for _, l := range listed {
		all = append(all, keyfile.Registered{ID: l.ID, Thumbprint: l.Thumbprint, Expires: l.Expires})
	}
	return all
}

// rotate puts a new key in place, or only drops those that have ended.
func (k *clientsKeys) rotate(ctx context.Context, alg string, prune bool) error {
	file := k.cfg.HelseID.ClientJWKFile
	if file == "" {
		return config.Faults{{
			Variable: "HELSEID_CLIENT_JWK", Problem: "holds the key itself, which can't be changed from here",
			Mend: "put it into a file, name that in HELSEID_CLIENT_JWK_FILE instead, and rotate then; or make a key with \"sidecar keygen\" and register it by hand",
		}}
	}
	r := &keyfile.Rotation{
		Path: file, Algorithm: alg, Try: k.try,
		List: func(ctx context.Context) ([]keyfile.Registered, error) {
			listed, err := k.api.Keys(ctx)
			return asRegistered(listed), err
		},
		Register: func(ctx context.Context, public []byte) (time.Time, error) { return k.api.AddKey(ctx, public) },
	}
	run := r.Run
	if prune {
		run = r.Prune
	}
	out, err := run(ctx)
	if err != nil {
		return err
	}
	return k.report(out)
}

// A new key may need a moment until every server of HelseID knows it.
const (
	tries    = 5
	tryPause = 2 * time.Second
)

// try asks HelseID for a token with a key that is not in use yet.
func (k *clientsKeys) try(ctx context.Context, private []byte) error {
	key, err := helseid.ParseKeys(private)
	if err != nil {
		return err
	}
	for n := 1; ; n++ {
		m, err := newMachine(k.cfg, helseid.NewKeyRing(key)) // a new one: a refused client is not asked for again for a while
		if err != nil {
			return err
		}
		_, err = m.helseID.MachineToken(ctx, []string{selvbetjening.Scope}, "")
		m.close()
		refused, ok := errors.AsType[*helseid.Error](err)
		if !ok || refused.OAuthError() != "invalid_client" || n == tries {
			return err
		}
		timer := time.NewTimer(tryPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// report says what a rotation did.
func (k *clientsKeys) report(out *keyfile.Outcome) error {
	dropped := make([]string, 0, len(out.Dropped))
	for _, key := range out.Dropped {
		dropped = append(dropped, key.ID)
	}
	row := keyRow{}
	if !out.New.Expires.IsZero() {
		row.Expires = &out.New.Expires
	}
	if k.json {
		return json.NewEncoder(k.o.Stdout).Encode(struct {
			Signs   string     `json:"signs"` // "" = nothing but dropping was asked for
			Before  string     `json:"signed_before"`
			Resumed bool       `json:"resumed"`
			Expires *time.Time `json:"expires"`
			Dropped []string   `json:"dropped"`
		}{out.New.ID, out.Old.ID, out.Resumed, row.Expires, dropped})
	}
	if out.New.ID != "" {
		_, _ = fmt.Fprintf(k.o.Stdout, "%s signs now (%s), until %s.\n%s signed before; it stays in the file until it has ended at HelseID.\n",
			out.New.ID, out.New.Algorithm, row.ends(), out.Old.ID)
	}
	if out.Resumed {
		_, _ = fmt.Fprintln(k.o.Stdout, "An earlier run had made the new key, and did not get to its end.")
	}
	for _, id := range dropped {
		_, _ = fmt.Fprintf(k.o.Stdout, "%s was dropped.\n", id)
	}
	if out.New.ID == "" && len(dropped) == 0 {
		_, _ = fmt.Fprintln(k.o.Stdout, "No key has ended.")
	}
	return nil
}

// isFault reports an error that lies in how the command was set up.
func isFault(err error) bool {
	_, faults := errors.AsType[config.Faults](err)
	return faults || errors.Is(err, keyfile.ErrNotJWK) || errors.Is(err, keyfile.ErrReadOnly)
}

// mendOf is what an error says to do about it, where it does not say so itself.
func mendOf(err error) string {
	if e, ok := errors.AsType[*keysRefusal](err); ok {
		return e.mend
	}
	if e, ok := errors.AsType[*selvbetjening.Error](err); ok {
		return e.Mend
	}
	if e, ok := errors.AsType[*register.Error](err); ok {
		return e.Mend
	}
	if e, ok := errors.AsType[*helseid.Error](err); ok {
		return e.Hint()
	}
	return ""
}

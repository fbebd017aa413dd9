// Package telemetry is how the sidecar tells what it does: a log, metrics and the
// answers to a health check.
//
// Nothing here knows the other rooms, and none of them knows this one. They tell
// of events through function fields of their options; the wiring connects those
// with the methods of [Metrics].
//
// # What never leaves
//
// No token, assertion, proof, national identity number or query string is ever
// logged, and no label of a metric holds a tenant, a person, a path or a query. The
// rooms see to that themselves: they do not put such values into errors and
// attributes. The log has a second net, for the day when one of them fails to: see
// [NewLogger].
package telemetry

import (
	"io"
	"log/slog"
	"os"

	"github.com/lmittmann/tint"
)

// NewLogger returns a logger and the level that it goes by, which may be changed
// while it is in use.
//
// The level is debug, info, warn or error; anything else is info. The format is
// text, json, or auto: text on a terminal, JSON elsewhere. Text is coloured on a
// terminal only.
//
// Durations are written as text ("1m30s"): as nanoseconds nobody reads them, and
// those of a minute and a half have the eleven digits of an identity number.
//
// Whatever looks like a JWT, a national identity number or the query of a URL is
// masked, in the message and in every attribute.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, *slog.LevelVar) {
	var lowest slog.LevelVar
	if lowest.UnmarshalText([]byte(level)) != nil {
		lowest.Set(slog.LevelInfo)
	}
	terminal := isTerminal(w)
	var handler slog.Handler
	if format == "text" || format != "json" && terminal {
		handler = tint.NewTextHandler(w, &tint.Options{Level: &lowest, NoColor: !terminal, TimeFormat: "15:04:05.000"})
	} else {
		handler = slog.NewJSONHandler(w, &slog.HandlerOptions{Level: &lowest})
	}
	return slog.New(guard{handler}), &lowest
}

// isTerminal reports whether w is a terminal. Other character devices count as
// one too; colours in /dev/null do no harm.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

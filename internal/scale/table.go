package scale

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Tables are those of docs/scale.md, in Markdown.
func Tables() string {
	var page strings.Builder
	page.WriteString("\n### Calls that go to any pod\n\n")
	table(&page, 1000, Usual)
	page.WriteString("\n### Calls of a person that go to one pod\n\n")
	table(&page, 100_000, func(pods, pairs int) Fleet { // with fewer the store has next to nothing to do
		f := Usual(pods, pairs)
		f.Sticky = true
		return f
	})
	page.WriteString("\n### What HelseID is asked, in a second\n\n")
	comparison(&page)
	page.WriteString("\n### Other lifetimes, other paces\n\nA thousand pods, 100 000 pairs, calls to any pod.\n\n")
	paces(&page)
	page.WriteString("\n### While everything is restarted\n\n")
	deployments(&page)
	return page.String()
}

// sizes are the pods and pairs of the tables, from so many pairs on.
func sizes(least int, visit func(pods, pairs int)) {
	for pairs := least; pairs <= 1_000_000; pairs *= 10 {
		for pods := 10; pods <= 10_000; pods *= 10 {
			visit(pods, pairs)
		}
	}
}

func table(page *strings.Builder, least int, fleet func(pods, pairs int) Fleet) {
	head(page, "pairs", "pods", "calls/s", "HelseID/s", "store commands/s", "store's processor", "messages/s",
		"subscriptions", "entries", "listeners", "connections", "one pod")
	sizes(least, func(pods, pairs int) {
		l := Predict(fleet(pods, pairs))
		row(page, whole(float64(pairs)), whole(float64(pods)), number(l.Calls), number(l.HelseID), number(l.Store.Commands()),
			percent(l.Store.Processor()), number(l.Store.Messages), number(l.Subscriptions), size(l.StoreBytes), size(l.ListenBytes),
			whole(float64(l.Connections))+"–"+whole(float64(l.MostConnections)), size(l.PodBytes))
	})
}

func comparison(page *strings.Builder) {
	head(page, "pairs", "pods", "shared", "shared, one pod for each person", "alone, one pod for each person", "alone, any pod (machines only)")
	sizes(1000, func(pods, pairs int) {
		shared := Usual(pods, pairs)
		sticky, alone := shared, shared
		sticky.Sticky = true
		alone.Alone, alone.Machines = true, true
		lonely := sticky
		lonely.Alone = true
		row(page, whole(float64(pairs)), whole(float64(pods)), number(Predict(shared).HelseID), number(Predict(sticky).HelseID),
			number(Predict(lonely).HelseID), number(Predict(alone).HelseID))
	})
}

func paces(page *strings.Builder) {
	head(page, "a token lives", "calls of a pair in a minute", "HelseID/s", "store commands/s", "store's processor", "messages/s", "subscriptions")
	for _, lifetime := range []time.Duration{5 * time.Minute, 10 * time.Minute, time.Hour} {
		for _, calls := range []float64{0.2, 1, 5} {
			f := Usual(1000, 100_000)
			f.Lifetime, f.Calls = lifetime, calls
			l := Predict(f)
			row(page, fmt.Sprintf("%.0f min", lifetime.Minutes()), fmt.Sprint(calls), number(l.HelseID), number(l.Store.Commands()),
				percent(l.Store.Processor()), number(l.Store.Messages), number(l.Subscriptions))
		}
	}
}

func deployments(page *strings.Builder) {
	head(page, "20 pods, 500 pairs, played", "HelseID/s", "in the worst second", "store commands/s", "in the worst second")
	shared := Usual(20, 500)
	alone := shared
	alone.Alone, alone.Sticky = true, true
	for _, c := range []struct {
		name   string
		fleet  Fleet
		deploy bool
	}{
		{"shared", shared, false},
		{"shared, all pods restarted within ten minutes", shared, true},
		{"alone, one pod for each person", alone, false},
		{"the same, all pods restarted within ten minutes; log-ins are not counted", alone, true},
	} {
		s := Simulate(c.fleet, Play{Warm: 20 * time.Minute, Lasts: 10 * time.Minute, Deploy: c.deploy, Seed: 1})
		row(page, c.name, number(s.HelseID/s.Seconds), number(most(s.HelseIDSeconds)), number(s.Store.Commands()/s.Seconds), number(most(s.StoreSeconds)))
	}
}

func most(all []float64) (most float64) {
	for _, n := range all {
		most = max(most, n)
	}
	return most
}

func head(page *strings.Builder, names ...string) {
	row(page, names...)
	page.WriteString("|" + strings.Repeat(" ---: |", len(names)) + "\n")
}

func row(page *strings.Builder, cells ...string) {
	page.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// number shows two digits that count.
func number(n float64) string {
	if n == 0 {
		return "0"
	}
	if n < 9.95 {
		return fmt.Sprintf("%.1f", n)
	}
	unit := math.Pow(10, math.Floor(math.Log10(n))-1)
	return whole(math.Round(n/unit) * unit)
}

// whole shows a number with its thousands apart.
func whole(n float64) string {
	digits := fmt.Sprintf("%.0f", n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + " " + digits[i:]
	}
	return digits
}

func percent(n float64) string { return number(100*n) + " %" }

func size(bytes float64) string {
	switch {
	case bytes >= 1e9:
		return number(bytes/1e9) + " GB"
	default:
		return number(bytes/1e6) + " MB"
	}
}

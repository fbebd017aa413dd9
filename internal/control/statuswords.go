package control

import (
	"fmt"
	"strings"
	"time"
)

// reader is for whom a status page is written.
type reader struct {
	english bool
	now     time.Time
}

// say picks a language and fills in.
func (r reader) say(no, en string, args ...any) string {
	format := no
	if r.english {
		format = en
	}
	if len(args) == 0 {
		return format
	}
	return fmt.Sprintf(format, args...)
}

// clock is a moment as a person reads it: with its date, unless that is today's.
func (r reader) clock(t time.Time) string {
	t = t.In(r.now.Location())
	if t.Format(time.DateOnly) == r.now.Format(time.DateOnly) {
		return t.Format("15:04")
	}
	return t.Format("2006-01-02 15:04")
}

// justNow is how long ago nobody counts seconds.
const justNow = 10 * time.Second

// ago is a moment, and how long it is past or ahead.
func (r reader) ago(t time.Time) string {
	if t.IsZero() {
		return r.say("aldri", "never")
	}
	d := r.now.Sub(t)
	if 0 <= d && d < justNow {
		return r.say("%s (nettopp)", "%s (just now)", r.clock(t))
	}
	if d < 0 {
		return r.say("%s (om %s)", "%s (in %s)", r.clock(t), r.span(-d))
	}
	return r.say("%s (for %s siden)", "%s (%s ago)", r.clock(t), r.span(d))
}

// span is a length of time, to what matters of it.
func (r reader) span(d time.Duration) string {
	switch d = d.Abs(); {
	case d < 2*time.Minute:
		return r.say("%d sekunder", "%d seconds", int(d.Round(time.Second)/time.Second))
	case d < 2*time.Hour:
		return r.say("%d minutter", "%d minutes", int(d/time.Minute))
	case d < 48*time.Hour:
		return r.say("%d timer", "%d hours", int(d/time.Hour))
	}
	return r.say("%d døgn", "%d days", int(d/(24*time.Hour)))
}

// contact names whom to call, "" for nobody.
func (r reader) contact(c contact) string {
	names := contactNames[c]
	return r.say(names[0], names[1])
}

// refusal is what happened and what to do about it.
func (r reader) refusal(f Refusal) text {
	if t, ok := refusalsInNorwegian[f.Code]; ok && !r.english {
		return t
	}
	return text{f.Title, f.Hint}
}

// advice is a trouble as the page says it.
type advice struct {
	Level level
	text
	// Call is whom to call, empty where nobody needs to be.
	Call string
}

func (r reader) advice(t trouble) advice {
	a := advice{Level: t.level}
	var c contact
	switch {
	case t.refusal != nil:
		a.text, c = r.refused(t), contactOf(*t.refusal)
	case strings.HasPrefix(t.kind, "clock-"):
		a.text, c = r.wrongClock(t), operator
	default:
		a.text, c = r.plain(t)
	}
	a.Call = r.contact(c)
	return a
}

// refused is a trouble that a refusal told of.
func (r reader) refused(t trouble) text {
	says := r.refusal(*t.refusal)
	switch t.kind {
	case "tenants":
		if t.count > 1 {
			says.Title = r.say("%d virksomheter kan ikke bruke SFM nå", "%d organizations can't use SFM now", t.count)
			says.Body = r.say("Se listen nedenfor.", "See the list below.")
			return says
		}
		says.Body += r.say(" Gjelder %s.", " It concerns %s.", t.name)
	case "callers":
		says.Body = r.say("Sidecaren avviste et kall fra journalsystemet kl. %s: %s. %s", "The sidecar refused a call of the record system at %s: %s. %s",
			r.clock(t.at), says.Title, says.Body)
		says.Title = r.say("Et kall ble avvist", "A call was refused")
	default:
		says.Body += r.say(" Sist kl. %s.", " Last at %s.", r.clock(t.at))
	}
	return says
}

func (r reader) wrongClock(t trouble) text {
	by := r.say("%s for sakte", "%s slow", r.span(t.span))
	if t.span < 0 {
		by = r.say("%s for fort", "%s fast", r.span(t.span))
	}
	title := r.say("Klokken på denne maskinen går %s", "This machine's clock is %s", by)
	switch t.kind {
	case "clock-off":
		return text{title, r.say("Kallene virker likevel, for sidecaren retter opp. Still klokken, helst automatisk (NTP).",
			"Calls work all the same, since the sidecar makes up for it. Set the clock, best by NTP.")}
	case "clock-uncorrected":
		return text{title, r.say("HelseID og SFM avviser kall med feil tid. Still klokken, helst automatisk (NTP).",
			"HelseID and SFM refuse calls with a wrong time. Set the clock, best by NTP.")}
	}
	return text{title, r.say("Det er mer enn sidecaren kan rette opp, så kall avvises. Still klokken, helst automatisk (NTP).",
		"That is more than the sidecar can make up for, so calls are refused. Set the clock, best by NTP.")}
}

// plain is any other trouble.
func (r reader) plain(t trouble) (text, contact) {
	switch t.kind {
	case "stopping":
		return text{r.say("Sidecaren stopper", "The sidecar is stopping"),
			r.say("Åpne kall får bli ferdige. Vent til den er startet igjen.", "Open calls may finish. Wait until it has been started again.")}, nobody
	case "client-refused":
		return text{r.say("HelseID godtar ikke dette systemet", "HelseID does not accept this system"),
			r.say("Ingen får hentet eller sendt resepter. Klient og nøkkel må kontrolleres i HelseID Selvbetjening.",
				"Nobody can fetch or send prescriptions. Client and key must be checked in HelseID Selvbetjening.")}, vendor
	case "helseid-down":
		return text{r.say("HelseID svarer ikke", "HelseID does not answer"),
			r.say("Slik har det vært siden kl. %s. Det som er i gang virker en stund til; nye innlogginger må vente. Se etter driftsmelding hos Norsk helsenett, og ring dersom det varer.",
				"It has been so since %s. Work under way goes on for a while; new log-ins must wait. Look for a notice of Norsk helsenett's, and call if it lasts.", r.clock(t.at))}, helseID
	case "store-down":
		return text{r.say("Det felles lageret svarer ikke", "The shared store does not answer"),
			r.say("Slik har det vært siden kl. %s. Den som allerede arbeider i SFM kan fortsette en stund; nye innlogginger og fornyelser må vente. Ingen blir logget ut av dette.",
				"It has been so since %s. Who is at work in SFM already can go on for a while; new log-ins and renewals must wait. Nobody is logged out by it.", r.clock(t.at))}, operator
	case "store-failing":
		return text{r.say(storeFaults[t.name].no, storeFaults[t.name].en),
			r.say("Sist kl. %s. Den som allerede arbeider i SFM kan fortsette en stund; nye innlogginger og fornyelser må vente til det er rettet (%s).",
				"Last at %s. Who is at work in SFM already can go on for a while; new log-ins and renewals wait until it is mended (%s).", r.clock(t.at), t.name)}, operator
	case "store-key-own", "store-key-apart", "store-key-unopened":
		return r.storeKey(t), operator
	case "sfm-down", "sfm-errors":
		return r.sfmTrouble(t), sfm
	case "key-ended":
		return text{r.say("Systemets nøkkel hos HelseID er utløpt", "The system's key at HelseID has ended"),
			r.say("Den utløp %s og må byttes (sidecar keys rotate).", "It ended %s and must be replaced (sidecar keys rotate).", r.ago(t.at))}, operator
	case "key-ending":
		return text{r.say("Systemets nøkkel hos HelseID utløper snart", "The system's key at HelseID ends soon"),
			r.say("Den utløper %s. Bytt den før det (sidecar keys rotate).", "It ends %s. Replace it before (sidecar keys rotate).", r.ago(t.at))}, operator
	case "registry":
		return text{r.say("Registeret over virksomheter har feil", "The register of organizations has faults"),
			r.say("Endringer er ikke tatt i bruk; det som ble lest kl. %s gjelder fortsatt. Feilene står nedenfor.",
				"Changes are not in use; what was read at %s still holds. The faults stand below.", r.clock(t.at))}, operator
	case "session-ending":
		return text{r.say("En innlogging går ut kl. %s", "A log-in ends at %s", r.clock(t.at)),
			r.say("Det er om %s. Den som er logget inn bør gjøre seg ferdig, og logge inn på nytt fra journalsystemet.",
				"That is in %s. Whoever is logged in should finish, and log in again from the record system.", r.span(t.span))}, nobody
	}
	panic("BUG: no words for the trouble " + t.kind)
}

// storeFaults name what a shared store that answers can lack, by its reason.
var storeFaults = map[string]struct{ no, en string }{
	"full":        {"Det felles lageret er fullt", "The shared store is full"},
	"credentials": {"Det felles lageret avviser sidecaren", "The shared store refuses this sidecar"},
	"read-only":   {"Det felles lageret tar ikke imot noe", "The shared store takes no writes"},
	"replicas":    {"Det felles lageret tar ikke imot noe", "The shared store takes no writes"},
	"sealed":      {"Sidecaren kan ikke åpne alt i det felles lageret", "The sidecar can't open all that is in the shared store"},
}

// storeKey is about the DPoP key that replicas share.
func (r reader) storeKey(t trouble) text {
	own := r.say("Denne sidecaren bruker en egen DPoP-nøkkel, og deler ingen token", "This replica uses a DPoP key of its own and shares no tokens")
	mend := r.say("Den felles nøkkelen kan ikke åpnes. Sett nøkkelen som forseglet den tilbake i SIDECAR_STORE_KEY, eller lag en ny (sidecar keys dpop rotate --now).",
		"The shared key can't be opened. Put the key that sealed it back into SIDECAR_STORE_KEY, or make a new one (sidecar keys dpop rotate --now).")
	switch t.kind {
	case "store-key-own":
		return text{own, r.say("Kallene virker. Den tar i bruk den felles nøkkelen så snart lageret gir den; varer dette mer enn et minutt, se hva loggen sier om DPoP-nøkler.",
			"Calls work. It takes up the shared key as soon as the store gives it; if this lasts for more than a minute, see what the log says of DPoP keys.")}
	case "store-key-apart":
		return text{own, r.say("Kallene virker. ", "Calls work. ") + mend}
	}
	return text{r.say("Den felles DPoP-nøkkelen kan ikke åpnes", "The shared DPoP key can't be opened"),
		r.say("Kallene virker. En sidecar som starter nå, får sin egen nøkkel og deler ingen token. ",
			"Calls work. A sidecar that starts now gets a key of its own, and shares no tokens. ") + mend}
}

func (r reader) sfmTrouble(t trouble) text {
	name := "SFM"
	if t.name != "" {
		name += " (" + t.name + ")"
	}
	says := text{r.say("%s svarer ikke", "%s does not answer", name),
		r.say("Siste forsøk var kl. %s. Ble noe sendt akkurat da, kontroller om det kom fram før det sendes igjen. Prøv om litt, og ring dersom det varer.",
			"The last try was at %s. If something was being sent then, see whether it arrived before sending it again. Try in a while, and call if it lasts.", r.clock(t.at))}
	if t.kind == "sfm-errors" {
		says.Title = r.say("%s svarer med feil", "%s answers with errors", name)
	}
	return says
}

package control

import (
	"bytes"
	_ "embed"
	"errors"
	"html/template"
	"net/http"
	"strings"

	"sfm-sidecar/internal/session"
)

// cookie ties a browser to the log-ins it began. Lax, so that it comes along
// when HelseID sends the browser back; not Secure, since the way is loopback.
const cookie = "sfm_sidecar_login"

//go:embed page.html
var pageSource string

//go:embed page.css
var style string

var page = template.Must(template.New("page").Parse(pageSource))

// pagePolicy lets a page do nothing but apply its own style, named by its hash.
var pagePolicy = policyFor(style)

func (h *Handler) login(w http.ResponseWriter, r *http.Request) error {
	opened, err := h.o.Sessions.Open(r.Context(), strings.TrimPrefix(r.URL.Path, session.LoginPath), browser(r))
	if opened.Browser != "" {
		http.SetCookie(w, &http.Cookie{
			Name: cookie, Value: opened.Browser, Path: Prefix,
			MaxAge: int(session.PendingLifetime.Seconds()), HttpOnly: true, SameSite: http.SameSiteLaxMode,
		})
	}
	if err != nil {
		return pageError{err, textFor(err)}
	}
	return redirect(w, opened.Location)
}

func (h *Handler) logout(w http.ResponseWriter, r *http.Request) error {
	location, err := h.o.Sessions.Logout(r.Context(), strings.TrimPrefix(r.URL.Path, session.LogoutPath))
	if err != nil {
		return pageError{err, logoutFailed}
	}
	return redirect(w, location)
}

func redirect(w http.ResponseWriter, location string) error {
	w.Header().Set("Location", location)
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusFound)
	return nil
}

func (h *Handler) callback(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	err := h.o.Sessions.Finish(r.Context(), session.Callback{
		Code: q.Get("code"), State: q.Get("state"), Issuer: q.Get("iss"), Error: q.Get("error"),
		Own: true, Browser: browser(r),
	})
	if err != nil {
		says := textFor(err)
		if says.forget {
			says.address, _ = h.o.Sessions.LogoutAddress(r.Context()) // without it the page is of less help
		}
		return pageError{err, says}
	}
	writePage(w, r, http.StatusOK, done)
	return nil
}

// browser is the value of the browser's cookie, or "".
func browser(r *http.Request) string {
	c, err := r.Cookie(cookie)
	if err != nil {
		return ""
	}
	return c.Value
}

// pageError is a refusal that a person reads in a browser. The front door gives
// it status and headers like any other, and lets it write the body.
type pageError struct {
	error
	says message
}

// Unwrap returns the refusal itself.
func (e pageError) Unwrap() error { return e.error }

// WritePage writes the refusal as a page.
func (e pageError) WritePage(w http.ResponseWriter, r *http.Request, status int) {
	writePage(w, r, status, e.says)
}

// text is what a page says, in one language.
type text struct{ Title, Body string }

// message is what a page says.
type message struct {
	good   bool
	no, en text
	// forget: it helps to end HelseID's own session, at address.
	forget  bool
	address string
}

var done = message{
	good: true,
	no:   text{"Du er logget inn", "Du kan lukke denne siden og gå tilbake til journalsystemet."},
	en:   text{"You are logged in", "You can close this page and return to your record system."},
}

var logoutFailed = message{
	no: text{"Utloggingslenken kan ikke brukes igjen", "Er du fortsatt logget inn, logg ut fra journalsystemet en gang til."},
	en: text{"The log-out link can't be used again", "If you are still logged in, log out from your record system once more."},
}

// messages are the refusals that a person can do something about, by code and,
// where one is given, reason.
var messages = map[[2]string]message{
	{"login-failed", "denied"}: {
		no: text{"Innloggingen ble avbrutt", "Gå tilbake til journalsystemet og start innloggingen på nytt."},
		en: text{"The log-in was cancelled", "Return to your record system and start the log-in again."},
	},
	{"login-failed", "level-too-low"}: {
		no: text{"Innloggingen er ikke sikker nok", "Start på nytt og velg en innlogging på nivå 4, for eksempel BankID eller Buypass."},
		en: text{"The log-in is not strong enough", "Start again and choose a log-in at level 4, such as BankID or Buypass."},
	},
	{"login-failed", "expired"}: {
		no: text{"Innloggingen tok for lang tid", "Gå tilbake til journalsystemet og start innloggingen på nytt."},
		en: text{"The log-in took too long", "Return to your record system and start the log-in again."},
	},
	{"login-failed", "replayed"}: {
		no: text{"Denne innloggingen er allerede brukt", "Gå tilbake til journalsystemet. Er du ikke logget inn der, start på nytt."},
		en: text{"This log-in has been used", "Return to your record system. If you are not logged in there, start again."},
	},
	{"login-failed", "browser-changed"}: {
		no: text{"Innloggingen ble startet i en annen nettleser", "Start innloggingen på nytt fra journalsystemet, og fullfør den i nettleseren som åpnes."},
		en: text{"The log-in was started in another browser", "Start again from your record system, and finish in the browser that opens."},
	},
	{"person-mismatch", ""}: {
		forget: true,
		no:     text{"En annen person er logget inn", "HelseID kjente igjen en annen enn den journalsystemet venter på. Logg ut av HelseID, og start innloggingen på nytt fra journalsystemet."},
		en:     text{"Another person is logged in", "HelseID recognised someone other than your record system expects. Log out of HelseID, and start the log-in again from your record system."},
	},
	{"helseid-unavailable", ""}: {
		no: text{"HelseID svarer ikke", "Vent litt, og last denne siden på nytt. Hjelper ikke det, start innloggingen på nytt fra journalsystemet."},
		en: text{"HelseID does not answer", "Wait a little, and reload this page. If that does not help, start the log-in again from your record system."},
	},
}

var otherwise = message{
	no: text{"Innloggingen lyktes ikke", "Start på nytt fra journalsystemet. Skjer det igjen, kontakt leverandøren og oppgi koden nedenfor."},
	en: text{"The log-in did not succeed", "Start again from your record system. If it happens again, contact its supplier and give the code below."},
}

func textFor(err error) message {
	var code, reason string
	if c, ok := errors.AsType[interface {
		error
		Code() string
	}](err); ok {
		code = c.Code()
	}
	if c, ok := errors.AsType[interface {
		error
		Reason() string
	}](err); ok {
		reason = c.Reason()
	}
	for _, key := range [][2]string{{code, reason}, {code, ""}} {
		if m, ok := messages[key]; ok {
			return m
		}
	}
	return otherwise
}

// writePage writes a page that needs no script and loads nothing.
func writePage(w http.ResponseWriter, r *http.Request, status int, m message) {
	data := struct {
		text
		Language, LogOut, Address, Support, Code, Request string
		Good                                              bool
		Style                                             template.CSS
	}{text: m.no, Style: template.CSS(style), Language: "nb", LogOut: "Logg ut av HelseID", Address: m.address,
		Support: "Til brukerstøtte, hvis du trenger hjelp:",
		Good:    m.good, Code: w.Header().Get("Sidecar-Error"), Request: w.Header().Get("Sidecar-Request-Id")}
	if english(r.Header.Get("Accept-Language")) {
		data.text, data.Language = m.en, "en"
		data.LogOut, data.Support = "Log out of HelseID", "For support, if you need help:"
	}
	var body bytes.Buffer
	if err := page.Execute(&body, data); err != nil {
		panic("BUG: the page template fails: " + err.Error())
	}
	writeHTML(w, r, htmlPage{status: status, language: data.Language, policy: pagePolicy, body: body.Bytes()})
}

// english says whether a reader prefers English to Norwegian: whichever of them
// stands first in Accept-Language. Browsers list languages in order of
// preference, so weights are not read.
func english(acceptLanguage string) bool {
	for tag := range strings.SplitSeq(strings.ToLower(acceptLanguage), ",") {
		tag, _, _ = strings.Cut(strings.TrimSpace(tag), ";")
		language, _, _ := strings.Cut(tag, "-")
		switch language {
		case "nb", "nn", "no", "da", "sv":
			return false
		case "en":
			return true
		}
	}
	return acceptLanguage != ""
}

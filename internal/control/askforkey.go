package control

import (
	"errors"
	"net/http"
)

// keyAsked says what to do when the browser's question was not answered well.
var keyAsked = message{
	no: text{"Siden krever nøkkel", "Last siden på nytt, og skriv sidecarens nøkkel (SIDECAR_CALLER_KEY) som passord. Brukernavnet kan være hva som helst. IT-drift har nøkkelen."},
	en: text{"This page asks for a key", "Reload it, and give the sidecar's key (SIDECAR_CALLER_KEY) as the password. Any user name will do. IT operations have the key."},
}

// AskForKey makes of a refusal for want of the caller key one that has the browser
// ask its user. Any other error stays as it is.
func AskForKey(err error) error {
	c, ok := errors.AsType[interface {
		error
		Code() string
	}](err)
	if !ok || c.Code() != "caller-key" {
		return err
	}
	return keyQuestion{pageError{err, keyAsked}}
}

type keyQuestion struct{ pageError }

// WritePage writes the page that is shown where no key was given.
func (q keyQuestion) WritePage(w http.ResponseWriter, r *http.Request, status int) {
	w.Header().Set("WWW-Authenticate", `Basic realm="SFM sidecar", charset="UTF-8"`)
	q.pageError.WritePage(w, r, status)
}

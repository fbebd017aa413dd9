package session

import "net/http"

// Header carries the session handle.
const Header = "Sfm-Session"

// maxHandle bounds a handle; ours have 43 characters.
const maxHandle = 256

// Handle reads the session handle of a request's headers.
func Handle(h http.Header) (string, error) {
	switch values := h.Values(Header); {
	case len(values) == 0:
		return "", &Error{Kind: "session-required", Text: "the header " + Header + " is missing"}
	case len(values) > 1:
		return "", &Error{Kind: codeInvalid, Text: "the header " + Header + " was sent more than once"}
	case values[0] == "" || len(values[0]) > maxHandle:
		return "", &Error{Kind: codeInvalid, Text: "the header " + Header + " is empty or too long"}
	default:
		return values[0], nil
	}
}

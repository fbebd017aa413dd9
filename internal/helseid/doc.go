// Package helseid speaks with HelseID, the Norwegian health sector's OpenID Connect provider, as one confidential
// client. It knows the wire and the meaning of what comes back; it keeps no tokens and no sessions.
//
// # What a call looks like
//
//	metadata (24 h) ─▶ brake ─▶ slot ─▶ client assertion + proof ─▶ POST ─▶ judge ─▶ compare the token's claims
//	                                     ▲                                  │
//	                                     └──── once: nonce, proof, key ─────┘
//
// A client assertion is used once (RFC 7523 §3 item 7), so every repeat builds the whole request anew: new assertion,
// new proof, newest nonce. That is why the nonce handshake lives here and not in a RoundTripper. At most one repeat
// is made for each reason, and none after a request that may have been worked on: only the owner of a refresh token
// can judge whether it may be shown twice ([Error.NoAnswer]).
//
// # What is trusted
//
// Everything HelseID says is bounded (1 MiB), read strictly (exact member names, no member twice) and never repeated
// raw: no body, token or assertion is ever part of an error. The description of an OAuth error is someone else's text;
// it is cut, cleaned and masked before it is shown.
//
// ID tokens are verified with the check functions of github.com/zitadel/oidc (an OpenID-certified library) over a key
// set of our own. The signature of an access token is not verified: it came over TLS from HelseID's own token endpoint
// (the same ground on which OpenID Connect Core §3.1.3.7 item 6 lets a client skip it), it is addressed to SFM, which
// does verify it, and a key set that can't be fetched must not stop good tokens. Its form is checked strictly, and its
// claims are compared with what was asked for, one by one: a token for another organization, journal or person
// would sign prescriptions in the wrong name.
//
// # Errors
//
// A refusal is an [*Error] with a stable code. An error without a code is a fault of ours, or the caller's context
// that ended.
package helseid

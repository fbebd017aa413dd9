// Package simulator holds strict stand-ins for HelseID and SFM, the two parties
// that a client of SFM talks to, and for the registers around them. They are for
// tests, for demonstrations and for the build servers of EPJ vendors; they are
// never part of the product.
//
// # They judge
//
// A fake that says yes proves nothing. These say no where the real ones are
// known, or announced, to say no, and tell exactly what was wrong: in
// error_description at HelseID, in an OperationOutcome and WWW-Authenticate at
// SFM. No refusal quotes a token, an assertion or a proof, so all of them can
// be logged.
//
// HelseID refuses, among other things: a client assertion that is used twice
// (also over the two requests of the nonce handshake), lives longer than 60
// seconds or is addressed to the token endpoint instead of the issuer; a proof
// without the server's nonce, with another address or method, or seen before; a
// structured claim that is not to the letter; an organization without
// delegation; a refresh token that was rotated before, which ends the whole
// log-in. SFM refuses a proof outside -6 s to +5 s, a token bound to another
// key, and a token that lacks the claims it wants.
//
// # The registers
//
// Beside HelseID, at the same address, stand four services that a set-up is
// checked against: /brreg (Enhetsregisteret's open API), /adresseregisteret (the
// CommunicationParty API), /selvbetjening (the client's own registration and its
// keys) and /ttt (HelseID's test tokens). The two in the middle take nothing but a
// token of their own audience and scope with a fresh proof. A key that is posted
// to Selvbetjening authenticates its client from then on, and what its list of
// tenants says is what the token endpoint does. What their JSON looks like where
// no document tells is our own choice, and listed in docs/divergences.md.
//
// The package imports only the standard library and nothing of the product: a
// judge that shares code with the accused agrees with its mistakes.
//
// # The world
//
// [Start] serves a world on two loopback ports: [Persons] who can log in,
// [Tenants] that delegate to the [Supplier], and the clients given in
// [Options] ([NewClient] makes one with its key). All persons and numbers are
// synthetic.
//
//	client, privateJWK, err := simulator.NewClient("epj")
//	world, err := simulator.Start(simulator.Options{Clients: []simulator.Client{client}})
//	defer world.Close()
//	// HELSEID_ISSUER=world.HelseID HELSEID_CLIENT_JWK=privateJWK SFM_UPSTREAMS=basis=world.SFM
//
// A log-in goes as at HelseID: push the request, open the authorization
// address, be sent back with code, state and iss. The page shows the persons as
// buttons; a test adds &auto=<person> to the address, or auto=deny.
//
// # Journals
//
// SFM finds out by the token whose prescription it is: the journal by its id,
// in it the organization of the child or else the parent, from there upward
// (partOf) the HER-id, which must be an Aktør in RF, and the sender's address
// and telephone. [Resolution] is what it found; each prescription in the
// [Simulator.Ledger] has one. What is written to a journal is held to SFM's
// rules, and a refusal begins with the rule's id: "C1: …".
//
// By default every journal-id is good: its journal is made on first use, with
// the token's organizations, a HER-id and a sender, and no rule is kept in it.
// The knob strict_journals makes SFM exact: a journal begins with POST
// Organization. [Options].Journals are there from the start, and exact always,
// so that one wrong set-up can be shown in a world that is otherwise easy.
//
// # What cannot be known
//
// Nobody outside knows some of HelseID's and SFM's ways: whether refresh tokens
// rotate, how long a nonce is good, how a parent without child is to be
// written. Each is a knob ([Knobs]), and so is each way to fail: delays, 429,
// 500, 503, resets, web pages, cut answers, answers lost after the work was
// done, wrong claims, a clock that is off. Knobs are set from Go, or over HTTP
// at either stand-in:
//
//	GET, PUT     /_simulator/knobs           any part of the knobs as JSON; the rest stays
//	GET, DELETE  /_simulator/ledger          what reached SFM
//	GET, DELETE  /_simulator/token-requests  what reached HelseID's token, PAR and revocation endpoints
//	GET, PUT, DELETE  /_simulator/journals   journals: told, replaced by a list, back to those of the start
//	GET          /_simulator/rf              the Aktører that RF has
//	GET, DELETE  /_simulator/registers       what reached the registers, and how many calls at once
//	GET          /_simulator/world           persons, tenants, delegations, units, parties
//	POST         /_simulator/reset           knobs back, ledger, token requests and calls to registers forgotten
//
// These calls ask for no key. A world must listen on loopback only.
package simulator

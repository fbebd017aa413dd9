// Package sidecar is the root of a token sidecar for SFM: a proxy that stands
// beside an electronic health record system, obtains HelseID tokens that name the
// person, the organizations and the journal of each call, proves possession of
// them (DPoP, RFC 9449) and passes the call on.
//
// There is no code here. The programs are in cmd, their rooms in internal, and
// docs/architecture.md says which room may use which; rules_test.go, beside this
// file, holds the code to it.
package sidecar

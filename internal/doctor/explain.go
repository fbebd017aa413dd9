package doctor

import (
	"errors"
	"strings"
)

// refusal is what an error of the helseid room tells of itself.
type refusal interface {
	error
	Code() string
	Detail() string
	Reason() string
	HID() string
	OAuthError() string
}

// meaning is what a refusal means and what to do about it.
type meaning struct{ means, do string }

const askNHN = "ask NHN's customer centre; name the client id and the number"

// numbers are HelseID's own (docs/refusals.md has them too).
var numbers = map[string]meaning{
	"HID-1001": {"the parent has not delegated to the client's owner", "have the organization delegate in Altinn, at the PARENT (the top-level unit, not the sub-unit), to the supplier that owns the client; it counts once HelseID Selvbetjening shows the organization as Active"},
	"HID-1002": {"the child is not in the client's list of sub-units", "register the sub-unit for the client in HelseID Selvbetjening"},
	"HID-1003": {"HelseID keeps a list of sub-units below this parent, and the child is not on it", "have NHN remove the list, or put the child on it"},
	"HID-1004": {"an organization number was not written as HelseID wants it", "check the numbers; for a parent without child, try HELSEID_PARENT_ONLY_FORM=bare or colon (sidecar check --learn tries both)"},
	"HID-1005": {"the client is not approved to pass a parent", "have NHN approve the client as multi-tenant; a client of one organization needs HELSEID_TENANCY=single"},
	"HID-1006": {"the client is not approved to pass a child", "have NHN approve the client for sub-units"},
	"HID-1007": {"HelseID does not take the form in which the organization was sent", "try HELSEID_ASSERTION_CLAIM, and at log-in HELSEID_LOGIN_TENANT=request-object (sidecar check --learn tries it)"},
	"HID-1008": {"a client with a shared secret can't pass organizations", "register the client with a private key"},
	"HID-1009": {"HelseID wants no organization in the code exchange", askNHN},
	"HID-1010": {"the client is set up in a way that supports no organizations", askNHN},
}

// oauthErrors are those of RFC 6749 §5.2, RFC 9449 §5, RFC 8707 §2 and RFC 9126 §2.3.
var oauthErrors = map[string]meaning{
	"invalid_client":             {"HelseID does not accept the client's signature: the client id is wrong, or the public half of this key is not registered for it, or has expired there", "compare HELSEID_CLIENT_ID and the key's kid with the client in HelseID Selvbetjening; register the public half, or give the key that is registered"},
	"unauthorized_client":        {"the client is not registered for this way of asking (its grant type)", "have the grant types of HELSEID_GRANT opened for the client in HelseID Selvbetjening (user: authorization code and refresh token)"},
	"invalid_scope":              {"the client is not registered for one of the scopes", "name the API as consumed in the client system, wait for its owner's approval, and compare HELSEID_SCOPES and HELSEID_LOGIN_SCOPES with the client's registration"},
	"invalid_target":             {"HELSEID_RESOURCE belongs to none of the scopes", "unset HELSEID_RESOURCE, or name the audience of the scopes (e-helse:sfm.api)"},
	"invalid_grant":              {"HelseID no longer accepts the code or the refresh token", "log in again; if it comes at once, the code was redeemed twice, or with another redirect address"},
	"invalid_dpop_proof":         {"HelseID does not accept the DPoP proof", "look at the clock first; then see whether something between here and HelseID changes the address (a proxy)"},
	"use_dpop_nonce":             {"HelseID asked for a nonce again, although the newest was sent", "see whether something between here and HelseID drops the header DPoP-Nonce"},
	"invalid_request":            {"HelseID does not take the request as it was written", "read what it says above; at a log-in it is most often a redirect address that is not registered to the letter"},
	"unsupported_grant_type":     {"HelseID does not know the grant", "check HELSEID_ISSUER"},
	"invalid_request_object":     {"HelseID does not take the signed request object", "use HELSEID_LOGIN_TENANT=none if the client may log in without organization"},
	"unsupported_response_type":  {"the client may not log persons in", "have authorization code opened for the client"},
	"request_not_supported":      {"HelseID takes no request object of this client", "use HELSEID_LOGIN_TENANT=none"},
	"access_denied":              {"the log-in was cancelled or refused", "log in again"},
	"temporarily_unavailable":    {"HelseID is busy", "try again in a while"},
	"invalid_authorization_data": {"HelseID does not take the organization as it was sent", "try HELSEID_ASSERTION_CLAIM"},
}

// codes are the sidecar's own, for what came without one of the above.
var codes = map[string]meaning{
	"tenant-terms-unsigned": {"the organization has not signed the terms of use of the API: HelseID left its scope out", "have the organization (the parent) sign NHN's agreements and the terms of use of SFM; HelseID Selvbetjening shows what is missing"},
	"clock-skew":            {"this machine's clock is more than 5 minutes off HelseID's, which is more than the sidecar corrects", "set the clock (NTP; NHN has ntp.nhn.no)"},
	"limit-reached":         {"too many calls to HelseID were under way", "try again; raise SIDECAR_HELSEID_CONCURRENCY if it stays"},
	"token-mismatch":        {"HelseID's token is not the one that was asked for; the sidecar would not use it", "see which claim differs; should NHN have renamed it, HELSEID_CLAIM_NAMES says how"},
}

// reasons of helseid-unavailable and login-failed, for what the code alone does not say.
var reasons = map[string]meaning{
	"unreachable":       {"nothing answers at HelseID's address", "check HELSEID_ISSUER, the network, HTTPS_PROXY and, behind an inspecting proxy, SIDECAR_CA_FILE"},
	"timeout":           {"HelseID did not answer in time", "check the network and HTTPS_PROXY; raise HELSEID_TIMEOUT if the network is slow"},
	"no-answer":         {"the connection broke before an answer came", "check the network, HTTPS_PROXY and firewalls"},
	"server-error":      {"HelseID itself has trouble", "try again later; NHN's status page tells of disturbances"},
	"throttled":         {"HelseID asks for fewer requests", "wait; see that no other program asks with the same client"},
	"metadata-issuer":   {"HELSEID_ISSUER is not written as HelseID writes it (a slash at its end, another host)", "write it exactly as the member issuer of HelseID's metadata"},
	"metadata-garbled":  {"what answers at HELSEID_ISSUER is not HelseID's metadata", "check HELSEID_ISSUER, and whether a proxy answers in its place"},
	"metadata-endpoint": {"HelseID's metadata lacks an address that the sidecar needs", "check HELSEID_ISSUER"},
	"status":            {"what answers at HELSEID_ISSUER is not HelseID", "check HELSEID_ISSUER, and whether a proxy answers in its place"},
	"redirect":          {"the address points elsewhere, where no secrets are sent", "check HELSEID_ISSUER, and whether a proxy answers in its place"},
	"content-type":      {"something else than HelseID answered (a web page, for instance)", "see whether a proxy or firewall answers in HelseID's place"},
	"not-json":          {"something else than HelseID answered", "see whether a proxy or firewall answers in HelseID's place"},
	"level-too-low":     {"the person logged in below security level 4, which SFM demands", "log in by an electronic identity of level 4 (BankID, Buypass, Commfides); HELSEID_ACR_VALUES can ask for it"},
	"id-token-invalid":  {"the ID token is not for this log-in", "check HELSEID_ISSUER and HELSEID_CLIENT_ID, and the clock"},
	"state-unknown":     {"the answer came from somebody else than HelseID", "begin again; check HELSEID_ISSUER"},
	"expired":           {"the code had expired or was redeemed before", "log in again"},
}

// explain says in the four ways of a step what an error of HelseID's means.
func explain(err error) Finding {
	r, ok := errors.AsType[refusal](err)
	if !ok {
		if errors.Is(err, errEnded) {
			return wrong(err.Error(), "nobody came back in time", "run the check again and open the address at once")
		}
		// What is no refusal is a fault of ours or the end of the check; its text holds no secrets, by the rules of
		// the helseid room.
		return wrong(err.Error(), "the check could not be carried out", "run it again; if it stays so, this is a fault of the sidecar")
	}
	m := meaningOf(r)
	f := wrong(r.Detail(), m.means, m.do)
	f.Code, f.HID = r.Code(), r.HID()
	if r.Code() == "token-mismatch" && r.Reason() != "" {
		f.Details = Details{{Name: "claim", Value: r.Reason()}}
	}
	return f
}

func meaningOf(r refusal) meaning {
	if m, known := numbers[r.HID()]; known {
		return m
	}
	if m, known := codes[r.Code()]; known { // before the OAuth error: a wrong clock, too, answers invalid_client
		return m
	}
	if m, known := oauthErrors[r.OAuthError()]; known {
		return m
	}
	if m, known := reasons[r.Reason()]; known {
		return m
	}
	return meaning{"HelseID refuses this in a way that the sidecar does not know", "read what it says above; " + askNHN}
}

// explainPush adds what only an authorization request can be refused for.
func explainPush(err error, redirect string) Finding {
	f := explain(err)
	if r, ok := errors.AsType[refusal](err); ok && r.HID() == "" && strings.Contains(strings.ToLower(r.Detail()), "redirect") {
		f.Means = "the redirect address is not registered for the client to the letter"
		f.Do = "register " + redirect + " in HelseID Selvbetjening exactly so, or set HELSEID_REDIRECT_URI to the one that is registered"
	}
	return f
}

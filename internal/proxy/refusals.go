package proxy

//go:generate go test -run ^TestDocument$ -update .

import "net/http"

// Who a refusal comes from, as the member origin says it.
const (
	byCaller  = "caller"
	bySidecar = "sidecar"
	byHelseID = "helseid"
	bySFM     = "sfm"
)

// row is what one code means to the caller.
type row struct {
	status    int
	title     string
	hint      string
	origin    string
	retryable bool
}

// rows holds every refusal there is. A code that is not here is a fault of
// ours and becomes internal.
var rows = map[string]row{
	"request-invalid": {http.StatusBadRequest, "The request is not well-formed",
		"Send each header of the sidecar once and with a value, a path of plain segments, and a whole body.", byCaller, false},
	"caller-key": {http.StatusUnauthorized, "The caller key is missing or wrong",
		"Send the key that the sidecar was configured with in the header Sidecar-Key.", byCaller, false},
	"caller-refused": {http.StatusForbidden, "This user of the machine may not call",
		"Run the EPJ as one of the users in SIDECAR_ALLOWED_UIDS or SIDECAR_ALLOWED_SIDS, or add its user there.", byCaller, false},
	"host-refused": {http.StatusForbidden, "The sidecar does not answer to this host name",
		"Call it as localhost, 127.0.0.1 or [::1], or add the name to SIDECAR_ALLOWED_HOSTS.", byCaller, false},
	"origin-refused": {http.StatusForbidden, "Web pages may not call the sidecar",
		"Call from the EPJ itself, or add the page's exact origin to SIDECAR_ALLOWED_ORIGINS.", byCaller, false},
	"control-unknown": {http.StatusNotFound, "There is no such control call",
		"See GET /_sidecar/openapi.json for the calls there are.", byCaller, false},
	"upstream-unknown": {http.StatusNotFound, "There is no such upstream",
		"Begin the path with one of the names in SFM_UPSTREAMS.", byCaller, false},

	"tenant-missing": {http.StatusBadRequest, "The call does not say which tenant it is for",
		"Send Sfm-Orgnr-Parent and Sfm-Journal-Id, and Sfm-Orgnr-Child for a sub-unit; or Sfm-Tenant.", byCaller, false},
	"tenant-invalid": {http.StatusBadRequest, "The tenant is not well-formed",
		"Organization numbers have nine digits, and a journal-id is a UUID.", byCaller, false},
	"tenant-ambiguous": {http.StatusBadRequest, "The call names its tenant in two ways",
		"Send either Sfm-Tenant or the organization numbers and journal-id, not both.", byCaller, false},
	"tenant-unknown": {http.StatusForbidden, "The tenant is not registered",
		"Add the tenant to TENANTS_FILE, or correct the call.", byCaller, false},
	"tenant-not-in-session": {http.StatusForbidden, "The session may not act for this tenant",
		"Make a session whose tenants include this one.", byCaller, false},

	"session-required": {http.StatusUnauthorized, "A person must be logged in",
		"Make a session with POST /_sidecar/sessions, open its login_url in the system browser, and send its handle in Sfm-Session.", byCaller, false},
	"session-unknown": {http.StatusUnauthorized, "The session is not known",
		"Log in again with POST /_sidecar/sessions.", byCaller, false},
	"session-expired": {http.StatusUnauthorized, "The session has ended",
		"Log in again with POST /_sidecar/sessions.", byCaller, false},
	"session-pending": {http.StatusConflict, "The log-in is not finished",
		"Wait for it with GET /_sidecar/session?wait=30s, then call again.", byCaller, true},
	"login-failed": {http.StatusBadRequest, "The log-in failed",
		"Begin a new log-in with POST /_sidecar/sessions.", byHelseID, false},
	"person-mismatch": {http.StatusForbidden, "Another person than the expected one has logged in",
		"Let the expected person log in, or correct the member expect.", byCaller, false},
	"handover-refused": {http.StatusBadRequest, "HelseID did not accept the handed-over refresh token",
		"Hand over an unused refresh token of a log-in that the EPJ made with the same client, or log in with POST /_sidecar/sessions.", byHelseID, false},
	"grant-mismatch": {http.StatusBadRequest, "The call does not fit its grant",
		"Send Sfm-Grant only with a configured grant, and a session or token only under the grant that uses it.", byCaller, false},
	"subject-token-required": {http.StatusUnauthorized, "The call needs the caller's own access token",
		"Send the person's HelseID access token in Authorization.", byCaller, false},
	"subject-token-invalid": {http.StatusUnauthorized, "The caller's access token can't be used",
		"Send an unexpired HelseID access token at security level 4 with the audience in HELSEID_SUBJECT_AUDIENCE.", byCaller, false},

	"tenant-not-delegated": {http.StatusForbidden, "The organization has not delegated its rights to this system's supplier",
		"The parent organization must delegate in Altinn to the supplier of this client; then try again.", byHelseID, false},
	"tenant-refused": {http.StatusForbidden, "HelseID refuses the organization",
		"Check the organization numbers in Brønnøysundregistrene, and that the child belongs to the parent.", byHelseID, false},
	"tenant-terms-unsigned": {http.StatusForbidden, "The organization may not use this API yet",
		"The parent organization must accept the terms of use for SFM with Norsk helsenett; then log in again.", byHelseID, false},
	"client-not-approved": {http.StatusBadGateway, "HelseID does not accept this client",
		"Check HELSEID_CLIENT_ID and its key, and the client's state in HelseID Selvbetjening.", byHelseID, false},
	"helseid-refused": {http.StatusBadGateway, "HelseID refused the request",
		"See the detail; helseid_error and hid are what Norsk helsenett will ask for.", byHelseID, false},
	"helseid-unavailable": {http.StatusServiceUnavailable, "HelseID can't be reached",
		"Try again later; nothing was sent to SFM.", byHelseID, true},
	"clock-skew": {http.StatusServiceUnavailable, "The machine's clock is wrong",
		"Set the clock, best by NTP: it is more than five minutes off HelseID's.", bySidecar, false},
	"token-mismatch": {http.StatusBadGateway, "The token is not the one that was asked for",
		"Nothing was sent. Ask Norsk helsenett why the token does not carry what the detail names.", byHelseID, false},

	"upstream-unavailable": {http.StatusBadGateway, "SFM can't be reached",
		"Nothing was sent; the call can be made again.", bySFM, true},
	"upstream-outcome-unknown": {http.StatusBadGateway, "The connection to SFM broke during the call",
		"SFM may have done the work. Look before making the call again.", bySFM, false},
	"upstream-timeout": {http.StatusGatewayTimeout, "SFM did not answer in time",
		"SFM may have done the work, or still be at it. Look before making the call again.", bySFM, false},
	"resend-needed": {http.StatusServiceUnavailable, "The call must be made again",
		"SFM wanted another proof or token and did no work; the body had already left. Make the call again.", bySFM, true},

	"store-unavailable": {http.StatusServiceUnavailable, "The session store can't be used now",
		"Try again later; nothing was sent. The detail says what is wrong with it.", bySidecar, true},
	"journal-guard": {http.StatusConflict, "The call could make a new journal",
		"Send Sfm-Journal-Intent: new to make one, or existing to write to one that is there; reason and detail say what SFM answered when it was asked.", byCaller, false},
	"limit-reached": {http.StatusServiceUnavailable, "The sidecar is at one of its limits",
		"Try again after the time in Retry-After.", bySidecar, true},
	"draining": {http.StatusServiceUnavailable, "The sidecar is stopping",
		"Try again, at another instance or when it is back.", bySidecar, true},
	"internal": {http.StatusInternalServerError, "A fault of the sidecar",
		"Report it with the request_id; the log has the cause.", bySidecar, false},
}

// loginStatus is login-failed on a call to SFM: there it means that nobody is
// logged in.
const loginStatus = http.StatusUnauthorized

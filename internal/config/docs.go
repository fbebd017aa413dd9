package config

// The sections of the documentation, in their order.
const (
	sectionHelseID   = "HelseID"
	sectionSFM       = "SFM and tenants"
	sectionListeners = "Listeners and callers"
	sectionRunning   = "Keeping, running, seeing"
	sectionTraces    = "Traces (OpenTelemetry's own variables)"
)

var sections = []string{sectionHelseID, sectionSFM, sectionListeners, sectionRunning, sectionTraces}

// preface opens docs/configuration.md.
const preface = `# Configuration

<!-- Made from internal/config by "make docs"; edit there. -->

The sidecar is configured by environment variables, or by a file of ` + "`NAME=value`" + ` lines that
` + "`SIDECAR_ENV_FILE`" + ` names (the environment wins). ` + "`sidecar env`" + ` prints these tables with the values
that are in force, secrets hidden; also what looks like one in the wrong variable (a key, a token, a
password in an address, JSON, a query), and all of ` + "`HELSEID_LOGIN_PARAMS`" + ` and ` + "`OTEL_RESOURCE_ATTRIBUTES`" + `.

- An empty value is an unset one.
- A variable marked (` + "`_FILE`" + `) holds a secret and has a twin, ` + "`<NAME>_FILE`" + `, that names a file with the
  value. Setting both is a fault.
- Time spans have a unit: ` + "`500ms`, `30s`, `5m`, `12h`" + `.
- All faults are reported together, each with its variable, what is wrong and how to mend it; the exit
  code is 2. A variable that begins like ours but is not known is a warning.
`

// wording is what the documentation says of one variable.
type wording struct {
	section string
	unset   string // the default in words, where it is not one fixed value
	meaning string // Markdown; the first sentence also serves in messages
}

// meanings says what each variable means. Together with the tags in config.go it
// makes the documentation.
var meanings = map[string]wording{
	"HELSEID_ISSUER":    {sectionHelseID, "", "the issuer's URL. `http` is accepted only for loopback hosts"},
	"HELSEID_CLIENT_ID": {sectionHelseID, "", "the client id that HelseID gave the client"},
	"HELSEID_CLIENT_JWK": {sectionHelseID, "", "the client's private key: JWK or JWKS (the first signs; RSA of at least 2048 bits, EC P-256, P-384 or P-521) or PKCS#8 PEM. " +
		"`alg` from the JWK, else PS256 / ES256 / ES384 / ES512. Without `kid`: the RFC 7638 thumbprint. A file is watched and reloaded; a broken new file keeps the old key; " +
		"a new key that HelseID answers with `invalid_client` while the old one worked is set aside, loudly"},
	"HELSEID_TENANCY": {sectionHelseID, "", "`multi`: both organization numbers and the journal-id are sent. `single` (a locally installed client of one organization): only a child is sent, " +
		"as `urn:oid:2.16.578.1.12.4.1.4.101`, and no journal element; the journal asked for is compared with the token's static `e-helse:sfm.api/client/claims/sfm-id`"},
	"HELSEID_GRANT": {sectionHelseID, "", "`user` (a person logs in, then one refresh per tenant), `client-credentials` (machine to machine), `token-exchange` (RFC 8693 on the caller's own HelseID token; experimental: NHN describes it for APIs, and SFM may not take what comes of it). " +
		"Several, comma separated: the first is the default, `Sfm-Grant` chooses per request"},
	"HELSEID_SCOPES":                   {sectionHelseID, "by `SFM_API`", "scopes of the SFM access token, space separated"},
	"HELSEID_LOGIN_SCOPES":             {sectionHelseID, "", "scopes that are asked for at log-in beside those of the access tokens, space separated. With a kept or shared log-in a change logs everybody out, as one of issuer, client, tenancy, API version or any other scope does"},
	"HELSEID_RESOURCE":                 {sectionHelseID, "", "`resource` (RFC 8707), sent alike at PAR, code exchange, refresh and the other grants"},
	"HELSEID_ACR_VALUES":               {sectionHelseID, "", "`acr_values` of every log-in"},
	"HELSEID_LOGIN_PARAMS":             {sectionHelseID, "", "further parameters of every log-in: `name=value` pairs, comma separated (`ui_locales`, `on_behalf_of`, …)"},
	"HELSEID_LOGIN_TENANT":             {sectionHelseID, "", "`none`: log in without organization and choose it at refresh, as NHN recommends. `request-object`: organization and journal go into a signed request object at PAR, for a client that HelseID does not let do otherwise"},
	"HELSEID_REDIRECT_URI":             {sectionHelseID, "`http://localhost:<callback port>/_sidecar/callback`", "where HelseID sends the browser after log-in; must be registered exactly so"},
	"HELSEID_POST_LOGOUT_REDIRECT_URI": {sectionHelseID, "", "where HelseID sends the browser after log-out"},
	"HELSEID_SUBJECT_AUDIENCE":         {sectionHelseID, "required with `token-exchange`", "audience that the caller's own token must have"},
	"HELSEID_ASSERTION_LIFETIME":       {sectionHelseID, "", "lifetime of the client assertion, at most `60s`"},
	"HELSEID_ASSERTION_CLAIM":          {sectionHelseID, "", "the claim that carries organization and journal: `assertion_details` or `authorization_details`; never both"},
	"HELSEID_PARENT_ONLY_FORM":         {sectionHelseID, "", "a parent without a child is sent as `NO:ORGNR:<parent>:` (`colon`) or `NO:ORGNR:<parent>` (`bare`)"},
	"HELSEID_CLAIM_NAMES":              {sectionHelseID, "", "`parent=…,child=…,journal=…,pid=…`: other names of the claims that every token is compared by, should NHN rename one; the comparison itself can't be turned off"},
	"HELSEID_SUPPLIER_ORGNR":           {sectionHelseID, "", "warn when `orgnr_supplier` in a token is another"},
	"HELSEID_TIMEOUT":                  {sectionHelseID, "", "how long a caller waits for one call to HelseID"},
	"SIDECAR_HELSEID_CONCURRENCY":      {sectionHelseID, "", "how many calls to HelseID may run at once"},

	"SFM_API": {sectionSFM, "", "one switch for what must agree: `v2` = scope `e-helse:sfm.api/sfm.api2` and DPoP; `v1` = scope `e-helse:sfm.api/sfm.api` and Bearer, no DPoP towards HelseID either. Nothing may mix them"},
	"SFM_UPSTREAMS": {sectionSFM, "", "`name=url` pairs, comma separated: `basis=https://base-fhir.test2.forskrivning.no,session=https://session.test2.forskrivning.no`, say. " +
		"`/<name>/rest?q` goes to `url` + `/rest?q`; a base path (an API version, say) belongs to the URL. A single URL without a name is mounted at `/`. Names: `[a-z0-9-]+`. " +
		"The name `migration` uses the migration scope of `SFM_API`, which is then asked for at log-in too. `http` is accepted only for loopback hosts"},
	"SFM_UPSTREAM_SCOPES":    {sectionSFM, "", "`name=scope[ scope]` pairs, comma separated, for another NHN API behind the same log-in (its own token, same person and organizations)"},
	"SFM_UPSTREAM_AUDIENCES": {sectionSFM, "", "`name=audience` pairs, comma separated; the others' audience is `" + SFMAudience + "`"},
	"SFM_RESPONSE_TIMEOUT":   {sectionSFM, "", "how long SFM may take until its response headers; bodies are never timed out"},
	"SFM_SESSION_KEEPALIVE":  {sectionSFM, "", "call SFM's `Session/refresh` after renewing the token of an open SFM session. `false`: the EPJ does; the sessions are still shown, and ended at log-out"},
	"TENANTS_FILE":           {sectionSFM, "", "YAML registry of tenants, or a directory of such files; watched and reloaded, a broken file keeps the last good one"},
	"TENANTS_POLICY":         {sectionSFM, "`listed` with a file, else `any`", "`listed`: only combinations in the registry; `any`: every well-formed one"},
	"SIDECAR_ORGNR_CHECK":    {sectionSFM, "", "check digit (modulus 11) of organization numbers: `warn`, or `strict` (refused). Some of NHN's own test numbers fail it"},
	"BRREG_URL":              {sectionSFM, "", "Enhetsregisteret, asked by `tenants lint --brreg` only"},
	"ADRESSEREGISTERET_URL":  {sectionSFM, "", "NHN's Adresseregisteret (CommunicationParty API), asked by `tenants lint --adresseregisteret` only, with a token of the client itself"},
	"SELVBETJENING_URL":      {sectionSFM, "by `HELSEID_ISSUER`", "API of HelseID Selvbetjening, asked by `check` and `keys` only, with a token of the client itself. HelseID's own two environments are known; empty for any other issuer"},

	"SIDECAR_LISTEN":            {sectionListeners, "", "application listener: `host:port`, or `unix:/path` for a socket (mode 0600). Not loopback = refused unless `SIDECAR_UNSAFE_LISTEN_ANY=true`"},
	"SIDECAR_CALLBACK_LISTEN":   {sectionListeners, "`SIDECAR_LISTEN` if TCP", "where the browser reaches the log-in, callback and log-out pages: 127.0.0.1 and ::1 both, same port. Needed for log-ins when the application listener is a socket"},
	"SIDECAR_ADMIN_LISTEN":      {sectionListeners, "", "probes, metrics, status page. On an address that is not loopback it serves probes and metrics only"},
	"SIDECAR_UNSAFE_LISTEN_ANY": {sectionListeners, "", "let other machines reach the application listener and the log-in pages"},
	"SIDECAR_ALLOWED_HOSTS":     {sectionListeners, "loopback names", "further values of `Host` that are answered to, comma separated"},
	"SIDECAR_ALLOWED_ORIGINS":   {sectionListeners, "", "exact origins of web pages that may call (CORS is answered), comma separated; needs a caller key"},
	"SIDECAR_CALLER_KEY": {sectionListeners, "", "when set, every application and control request but the browser's pages must carry it in `Sidecar-Key` (compared in constant time). " +
		"Unset on TCP: one warning at start; with `client-credentials` among the grants: a fault, unless `SIDECAR_UNSAFE_NO_CALLER_KEY=true`, since nothing else would stop a local process"},
	"SIDECAR_UNSAFE_NO_CALLER_KEY": {sectionListeners, "", "allow `client-credentials` without a caller key"},
	"SIDECAR_ALLOWED_UIDS":         {sectionListeners, "", "the operating system's users (numbers or names, comma separated) that may call (Linux); sessions then belong to the user who made them"},
	"SIDECAR_ALLOWED_SIDS":         {sectionListeners, "", "the same for Windows, by SID"},
	"SIDECAR_ENABLE_QUIT":          {sectionListeners, "", "`POST /quit` on the admin listener"},

	"SIDECAR_STORE":             {sectionRunning, "", "`memory`, or the address of a Redis (6.2 or later) or Valkey that all replicas share: `redis://USER:PASSWORD@HOST:PORT/DB`, `rediss://…` (TLS) or `unix:///PATH`; a cluster with `?cluster=true&addr=HOST:PORT`, sentinels with `?master_name=NAME&addr=HOST:PORT` ([all forms and parameters](shared-store.md#addresses)). Log-ins, tokens and the DPoP key are then shared, sealed"},
	"SIDECAR_STORE_KEY":         {sectionRunning, "required with a shared store", "base64 of 32 bytes, comma-separated list: the first seals, all open, the last one names the entries and stays (a new key is brought in as `old,new,old`, then `new,old`)"},
	"SIDECAR_STORE_TIMEOUT":     {sectionRunning, "", "how long one call to the shared store may take"},
	"SIDECAR_SESSION_STORE":     {sectionRunning, "", "`memory`, or `keyring`: refresh token and DPoP key in the operating system's key store, for a desktop: a log-in then outlives a restart, until its end or `SIDECAR_SESSION_IDLE`. Without a key store that answers there is no start"},
	"SIDECAR_SESSION_IDLE":      {sectionRunning, "", "a session unused this long ends (keep-alive is no use)"},
	"SIDECAR_CACHE_ENTRIES":     {sectionRunning, "", "tokens kept in memory; the least recently used leave first"},
	"SIDECAR_REFRESH_BEFORE":    {sectionRunning, "", "renew this long before expiry in the background (never more than 20 % of the lifetime; ±10 % jitter), for tokens used since the last renewal or belonging to an open SFM session. `0s` = never early"},
	"SIDECAR_EXPIRY_LEEWAY":     {sectionRunning, "", "never send a token with less life than this (never more than 5 % of the lifetime)"},
	"SIDECAR_CLOCK":             {sectionRunning, "", "`correct`: `iat`, `nbf`, `exp` are shifted by the measured offset to HelseID's `Date` header (median, at most ±5 min; a warning above 2 s); `system` = never"},
	"SIDECAR_CA_FILE":           {sectionRunning, "", "further trusted certificates, PEM"},
	"SIDECAR_MIN_SIGTERM_DELAY": {sectionRunning, "", "after SIGTERM: not ready at once, but new calls still served this long"},
	"SIDECAR_MAX_SIGTERM_DELAY": {sectionRunning, "`SFM_RESPONSE_TIMEOUT` + 10 s", "open calls may finish until this long after SIGTERM (the process ends as soon as it is idle); exit code 0"},
	"SIDECAR_WARM_UP":           {sectionRunning, "", "before `/readyz` says ready, fetch the machine's token of every listed tenant, for at most this long. `0s` = do not. Needs the grant `client-credentials` and the policy `listed`; what can't be fetched is logged, and does not hold up the start"},
	"HTTPS_PROXY":               {sectionRunning, "", "proxy for calls to HelseID and SFM; also read in lower case"},
	"NO_PROXY":                  {sectionRunning, "", "hosts that are called without the proxy, comma separated; also read in lower case"},
	"SIDECAR_ENV_FILE":          {sectionRunning, "", "file with `NAME=value` lines, for desktop services; the environment wins. Others should not be able to read it"},
	"SIDECAR_AUDIT_FILE":        {sectionRunning, "", "append-only audit stream"},
	"LOG_LEVEL":                 {sectionRunning, "", "`debug`, `info`, `warn` or `error`"},
	"LOG_FORMAT":                {sectionRunning, "", "`auto` = coloured text on a terminal, JSON otherwise; `text`, `json`"},

	"OTEL_EXPORTER_OTLP_ENDPOINT":           {sectionTraces, "", "the OpenTelemetry collector, a URL; traces go to `/v1/traces` beneath it. Neither user nor query: what is secret belongs in `OTEL_EXPORTER_OTLP_HEADERS`"},
	"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT":    {sectionTraces, "", "the very URL that traces are sent to, instead"},
	"OTEL_EXPORTER_OTLP_HEADERS":            {sectionTraces, "", "headers for the collector (a key, say): `name=value` pairs, comma separated, percent-encoded"},
	"OTEL_EXPORTER_OTLP_TRACES_HEADERS":     {sectionTraces, "", "the same for traces alone, instead"},
	"OTEL_EXPORTER_OTLP_PROTOCOL":           {sectionTraces, "", "`http/protobuf`, the only one that is spoken here; `grpc` and `http/json` are faults when an endpoint is set"},
	"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL":    {sectionTraces, "", "the same for traces alone, instead"},
	"OTEL_EXPORTER_OTLP_TIMEOUT":            {sectionTraces, "`10000`", "how long a batch of traces is tried to be delivered, in milliseconds, further tries included"},
	"OTEL_EXPORTER_OTLP_TRACES_TIMEOUT":     {sectionTraces, "", "the same for traces alone, instead"},
	"OTEL_EXPORTER_OTLP_COMPRESSION":        {sectionTraces, "", "`gzip` or `none`"},
	"OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": {sectionTraces, "", "the same for traces alone, instead"},
	"OTEL_EXPORTER_OTLP_CERTIFICATE":        {sectionTraces, "the trusted ones", "file of the certificates, PEM, that the collector's is judged by"},
	"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE": {sectionTraces, "", "the same for traces alone, instead"},
	"OTEL_SDK_DISABLED":                     {sectionTraces, "", "`true`: no traces, whatever else is set"},
	"OTEL_TRACES_EXPORTER":                  {sectionTraces, "", "`otlp`, or `none`: no traces"},
	"OTEL_SERVICE_NAME":                     {sectionTraces, "`sfm-sidecar`", "the service's name in traces"},
	"OTEL_RESOURCE_ATTRIBUTES":              {sectionTraces, "", "further attributes of the service: `name=value` pairs, comma separated, percent-encoded"},
	"OTEL_TRACES_SAMPLER":                   {sectionTraces, "", "which traces are kept: `always_on`, `always_off`, `traceidratio`, or one of them behind `parentbased_`: then the caller's decision counts, where there is one"},
	"OTEL_TRACES_SAMPLER_ARG":               {sectionTraces, "`1`", "the share of `traceidratio`, from 0 to 1"},
	"OTEL_BSP_SCHEDULE_DELAY":               {sectionTraces, "", "how long a span waits for others to be delivered with, in milliseconds, at most 3600000"},
	"OTEL_BSP_EXPORT_TIMEOUT":               {sectionTraces, "", "how long the delivery of a batch may take at most, in milliseconds, at most 3600000"},
	"OTEL_BSP_MAX_QUEUE_SIZE":               {sectionTraces, "", "how many spans may wait, at most 262144; what is more is dropped"},
	"OTEL_BSP_MAX_EXPORT_BATCH_SIZE":        {sectionTraces, "", "how many spans are delivered together, at most 262144 and never more than may wait"},
}

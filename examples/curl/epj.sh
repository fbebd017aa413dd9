#!/bin/sh
# A small EPJ: logs a person in, reads SFM's tasks, opens an SFM session, sends a
# prescription, logs out. It needs curl, jq and openssl. Run it with:
#
#   EPJ_HPR=565501001 EPJ_PARENT=… EPJ_CHILD=… EPJ_JOURNAL=… EPJ_SFM_BASE=… \
#     ./epj.sh getMedication.json sendMedication.json
#
# The two files are the EPJ's own FHIR bodies. With EPJ_SOCKET=/path it calls a
# sidecar that listens on a socket (SIDECAR_LISTEN=unix:/path).
set -eu

: "${EPJ_SIDECAR:=http://localhost:8080}" # with a socket, any host that the sidecar answers to
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
session=

# begin: call
# request METHOD PATH [curl's further arguments]: one request. The body of the
# answer is left in $work/body, its code, if the sidecar made it, in $error.
# curl's --retry is never used: it goes by status.
request() {
	method=$1 path=$2
	shift 2
	{ # in a file: whoever may list processes sees a command line
		echo "Sfm-Orgnr-Parent: $EPJ_PARENT"
		echo "Sfm-Journal-Id: $EPJ_JOURNAL"
		if [ -n "${EPJ_CHILD:-}" ]; then echo "Sfm-Orgnr-Child: $EPJ_CHILD"; fi # never empty: leave it out
		if [ -n "${EPJ_KEY:-}" ]; then echo "Sidecar-Key: $EPJ_KEY"; fi
		if [ -n "$session" ]; then echo "Sfm-Session: $session"; fi
	} >"$work/ours"
	if [ -n "${EPJ_SOCKET:-}" ]; then set -- "$@" --unix-socket "$EPJ_SOCKET"; fi
	status=$(curl -sS -X "$method" "$EPJ_SIDECAR$path" -H "@$work/ours" "$@" \
		-o "$work/body" -D "$work/headers" -w '%{http_code}') || { error=lost; return 1; }
	error=$(header Sidecar-Error)
	test -z "$error"
}

header() { tr -d '\r' <"$work/headers" | grep -i "^$1:" | cut -d ' ' -f 2-; }

# call: a call to SFM. It is made again only where the sidecar says that nothing
# was done: never by status.
call() {
	for attempt in 1 2 3; do
		if request "$@"; then return 0; fi
		case $error in
		session-required | session-unknown | session-expired | login-failed) log_in ;;
		lost) return 1 ;;
		*)
			if [ "$(header Sidecar-Retryable)" != true ]; then return 1; fi
			after=$(header Retry-After)
			sleep "${after:-1}"
			;;
		esac
	done
	return 1
}
# end: call

refused() {
	if [ "$error" != lost ]; then jq -r '.title + ". " + .hint' "$work/body" >&2; fi
	exit 1
}

# begin: login
log_in() {
	session=
	request POST /_sidecar/sessions -d "{\"expect\":{\"hpr_number\":\"$EPJ_HPR\"}}" || refused
	session=$(jq -r .session "$work/body")
	echo "log in: $(jq -r .login_url "$work/body")" # an EPJ opens it in the system browser
	request GET /_sidecar/session || refused
	while [ "$(jq -r .state "$work/body")" = pending ]; do
		request GET '/_sidecar/session?wait=30s' || refused
	done
	if [ "$(jq -r .state "$work/body")" != active ]; then
		jq -r '.error.title + ". " + .error.hint' "$work/body" >&2
		exit 1
	fi
	echo "logged in: $(jq -r .user.name "$work/body")"
}
# end: login

# begin: next
# search PATH: all pages. The links inside a Bundle point to SFM; they are
# followed through the sidecar.
search() {
	path=$1 tasks=0
	while [ -n "$path" ]; do
		call GET "$path" || refused
		tasks=$((tasks + $(jq '.entry | length' "$work/body")))
		next=$(jq -r '.link[]? | select(.relation == "next").url' "$work/body")
		path=
		if [ -n "$next" ]; then path=$(local_path "$next"); fi
	done
}

# local_path ADDRESS: the local address of one of SFM's. The scheme is not
# compared: SFM writes http behind its own TLS.
local_path() {
	base=${EPJ_SFM_BASE#*://}
	case ${1#*://} in
	"${base%/}"/*) echo "/basis/${1#*://"${base%/}"/}" ;;
	*) echo 'the link leads away from SFM' >&2 && return 1 ;;
	esac
}
# end: next

# begin: session
# open_sfm_session: for SFM's own pages, unless this tenant has one. The sidecar
# keeps it alive.
open_sfm_session() {
	request GET /_sidecar/session || refused
	if jq -e --arg parent "$EPJ_PARENT" 'any(.sfm_sessions[]; .tenant.parent == $parent and .state == "open")' "$work/body" >/dev/null; then
		return
	fi
	openssl rand 64 >"$work/nonce"
	hash=$(openssl dgst -sha512 -binary "$work/nonce" | openssl base64 -A)
	call POST /session/api/v2/Session/create -H 'Content-Type: application/json' -d "{\"nonce\":\"$hash\"}" || refused
	echo "SFM session: $(jq -r .metadata.patientportal "$work/body")" # its page takes .code and the nonce
}
# end: session

# begin: send
# send: once. If anything leaves it open whether SFM did it, SFM is asked, not
# told again.
send() {
	if call POST '/basis/Patient/$sendMedication' -H 'Content-Type: application/fhir+json' --data-binary "@$sendMedication"; then
		if [ "$status" = 200 ]; then echo 'sent: read each resultCode' && return; fi
	else
		case $error in
		lost | upstream-timeout | upstream-outcome-unknown) ;;
		*) refused ;; # nothing was sent
		esac
	fi
	call POST '/basis/Patient/$getMedication' -H 'Content-Type: application/fhir+json' --data-binary "@$getMedication" || refused
	echo "not known whether it was sent: compare with \$getMedication ($status)"
}
# end: send

# begin: logout
log_out() {
	request DELETE /_sidecar/session || refused
	session=
	echo "log out: $(jq -r .end_session_url "$work/body")" # an EPJ opens it in the same browser
}
# end: logout

getMedication=$1
sendMedication=$2
log_in
search '/basis/Task?code=8'
echo "tasks: $tasks"
open_sfm_session
send
open_sfm_session # before each showing of its page; here it is still open
log_out

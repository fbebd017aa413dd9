{{/*
sfm-sidecar.prometheusRule: each alert says what it means for the users and what to do.
In docs/alerts.md each has a section.
*/}}
{{- define "sfm-sidecar.prometheusRule" -}}
{{- $r := (include "sfm-sidecar.values" . | fromJson).prometheusRule -}}
{{- $job := printf "job=\"%s/%s\"" .Release.Namespace (include "sfm-sidecar.name" .) -}}
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: {{ include "sfm-sidecar.name" . }}
  labels:
    {{- include "sfm-sidecar.labels" . | nindent 4 }}
    {{- with $r.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  groups:
    - name: sfm-sidecar
      rules:
        - alert: SfmSidecarTokenMismatch
          expr: >-
            sum by (job) ((sfm_sidecar_refusals_total{ {{- $job }}, code="token-mismatch"} unless sfm_sidecar_refusals_total{ {{- $job }}, code="token-mismatch"} offset 15m) or increase(sfm_sidecar_refusals_total{ {{- $job }}, code="token-mismatch"}[15m])) > 0
          for: 0m
          labels:
            severity: critical
          annotations:
            summary: >-
              HelseID gave a token for another organization, journal or person than was asked for
            consequence: >-
              The calls were refused and nothing reached SFM. Had they gone out, one customer's patients could have been shown to another.
            action: >-
              Page someone at once. Do not restart or retry. Note the request ids in the log, stop the EPJ's calls for the tenants concerned, and ask Norsk helsenett why the token does not carry what was asked for.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecartokenmismatch
        - alert: SfmSidecarHelseIDUnavailable
          expr: >-
            sum by (job) (rate(sfm_sidecar_token_requests_total{ {{- $job }}, outcome="helseid-unavailable"}[5m])) / sum by (job) (rate(sfm_sidecar_token_requests_total{ {{- $job }}}[5m])) > 0.5
          for: 5m
          labels:
            severity: critical
          annotations:
            summary: >-
              HelseID does not answer most requests for tokens
            consequence: >-
              Calls go on with the tokens in memory until those expire, within minutes to an hour; after that users can't prescribe, and nobody can log in.
            action: >-
              See Norsk helsenett's status page. If HelseID is well, check egress (network policy, proxy, DNS) from the pod. Do not restart the pods: they hold the tokens that still work.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarhelseidunavailable
        - alert: SfmSidecarClientNotApproved
          expr: >-
            sum by (job) ((sfm_sidecar_refusals_total{ {{- $job }}, code="client-not-approved"} unless sfm_sidecar_refusals_total{ {{- $job }}, code="client-not-approved"} offset 10m) or increase(sfm_sidecar_refusals_total{ {{- $job }}, code="client-not-approved"}[10m])) > 0
          for: 1m
          labels:
            severity: critical
          annotations:
            summary: >-
              HelseID does not accept the client, or its key
            consequence: >-
              No new token can be had: everybody stops as the present tokens expire.
            action: >-
              Check the client's state and its keys in HelseID Selvbetjening. If the key was changed, see that the Secret holds its private half; a key that has expired there must be replaced.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarclientnotapproved
        - alert: SfmSidecarClientKeyExpiring
          expr: >-
            min by (job) (sfm_sidecar_client_key_not_after_seconds{ {{- $job }}} - time()) < 14 * 24 * 3600
          for: 1h
          labels:
            severity: warning
          annotations:
            summary: >-
              The client's key expires within 14 days
            consequence: >-
              When it has expired, HelseID refuses the client, and everybody stops.
            action: >-
              Make a new key, register its public half in HelseID Selvbetjening and put the private half into the Secret (docs/keys.md). The sidecar takes it up without a restart.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarclientkeyexpiring
        - alert: SfmSidecarTokensRefused
          expr: >-
            sum by (job, code) ((sfm_sidecar_refusals_total{ {{- $job }}, code=~"tenant-refused|tenant-not-delegated|tenant-terms-unsigned|helseid-refused"} unless sfm_sidecar_refusals_total{ {{- $job }}, code=~"tenant-refused|tenant-not-delegated|tenant-terms-unsigned|helseid-refused"} offset 30m) or increase(sfm_sidecar_refusals_total{ {{- $job }}, code=~"tenant-refused|tenant-not-delegated|tenant-terms-unsigned|helseid-refused"}[30m])) > 0
          for: 10m
          labels:
            severity: warning
          annotations:
            summary: >-
              HelseID refuses tokens: {{ "{{ $labels.code }}" }}
            consequence: >-
              The users of one or more organizations can't work. Others are not affected.
            action: >-
              The log names the request ids. Look the code up in docs/refusals.md: it is the organization's delegation in Altinn, its terms with Norsk helsenett, or its number.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecartokensrefused
        - alert: SfmSidecarClockSkewed
          expr: >-
            max by (job, pod) (abs(sfm_sidecar_clock_skew_seconds{ {{- $job }}})) > 2
          for: 10m
          labels:
            severity: warning
          annotations:
            summary: >-
              The clock is {{ `{{ $value | printf "%.0f" }}` }} seconds off
            consequence: >-
              The sidecar corrects up to five minutes by itself. Beyond that every call is refused (clock-skew).
            action: >-
              Set the node's clock by NTP. If several nodes are right and HelseID's clock differs from all of them, tell Norsk helsenett.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarclockskewed
        - alert: SfmSidecarClockUnusable
          expr: >-
            sum by (job) ((sfm_sidecar_refusals_total{ {{- $job }}, code="clock-skew"} unless sfm_sidecar_refusals_total{ {{- $job }}, code="clock-skew"} offset 10m) or increase(sfm_sidecar_refusals_total{ {{- $job }}, code="clock-skew"}[10m])) > 0
          for: 1m
          labels:
            severity: critical
          annotations:
            summary: >-
              Calls are refused because the clock is more than five minutes off
            consequence: >-
              Nobody whose EPJ runs on that node can work.
            action: >-
              Cordon the node and move the pods, then set its clock by NTP.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarclockunusable
        - alert: SfmSidecarStoreUnavailable
          expr: >-
            sum by (job) ((sfm_sidecar_refusals_total{ {{- $job }}, code="store-unavailable"} unless sfm_sidecar_refusals_total{ {{- $job }}, code="store-unavailable"} offset 5m) or increase(sfm_sidecar_refusals_total{ {{- $job }}, code="store-unavailable"}[5m])) > 0
          for: 2m
          labels:
            severity: critical
          annotations:
            summary: >-
              Calls are refused because the shared store can't be reached
            consequence: >-
              Persons' sessions can't be found or renewed: calls are refused until it is back. Nobody is logged out by it.
            action: >-
              Check the Redis or Valkey behind SIDECAR_STORE, its memory and its network policy; sidecar check examines it. Do not empty it: that would log everybody out.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarstoreunavailable
        - alert: SfmSidecarStoreResting
          expr: >-
            sum by (job) (sfm_sidecar_store_resting{ {{- $job }}}) > 0
          for: 2m
          labels:
            severity: warning
          annotations:
            summary: >-
              Replicas leave the shared store alone because it fails
            consequence: >-
              Calls go on with what is in memory. Machines' tokens are fetched by each replica for itself; persons whose token runs out are refused until the store is back.
            action: >-
              Compare sfm_sidecar_store_resting of all replicas: of one, it is that node's network; of all, the Redis or Valkey behind SIDECAR_STORE. Do not restart the sidecars: they hold the tokens that still work.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarstoreresting
        - alert: SfmSidecarStoreUnopened
          expr: >-
            sum by (job) ((sfm_sidecar_store_errors_total{ {{- $job }}, operation="open"} unless sfm_sidecar_store_errors_total{ {{- $job }}, operation="open"} offset 10m) or increase(sfm_sidecar_store_errors_total{ {{- $job }}, operation="open"}[10m])) > 0
          for: 0m
          labels:
            severity: warning
          annotations:
            summary: >-
              Entries of the shared store do not open
            consequence: >-
              Those log-ins are lost, or are refused until their key is back. No wrong token can come of it.
            action: >-
              See that all replicas have the same SIDECAR_STORE_KEY, and that a new key was brought in as old,new,old before new,old (docs/kubernetes.md). If they have, somebody else writes to the store: see who has its password.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarstoreunopened
        - alert: SfmSidecarOwnDPoPKey
          expr: >-
            sum by (job) (sfm_sidecar_own_dpop_key{ {{- $job }}}) > 0
          for: 5m
          labels:
            severity: warning
          annotations:
            summary: >-
              Replicas use a DPoP key of their own and share no tokens
            consequence: >-
              Calls work, but each of those replicas asks HelseID for every token itself, and none takes over another's.
            action: >-
              Run sidecar check, step store dpop. Where the fleet's key can't be opened, put the key that sealed it back into SIDECAR_STORE_KEY, or run sidecar keys dpop rotate --now (docs/keys.md). Where it can be opened, see what the log of the replica says of DPoP keys.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarowndpopkey
        - alert: SfmSidecarStoreErrors
          expr: >-
            sum by (job) ((sfm_sidecar_store_errors_total{ {{- $job }}} unless sfm_sidecar_store_errors_total{ {{- $job }}} offset 10m) or increase(sfm_sidecar_store_errors_total{ {{- $job }}}[10m])) > 3
          for: 5m
          labels:
            severity: warning
          annotations:
            summary: >-
              Operations of the store of sessions fail
            consequence: >-
              Some log-ins may not be kept: those persons have to log in again after a restart, or at another replica.
            action: >-
              See the log for the operation and its reason. docs/shared-store.md says of each reason of a shared store what to do; on a desktop it is the key store.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarstoreerrors
        - alert: SfmSidecarUpstreamFailing
          expr: >-
            sum by (job, upstream) (rate(sfm_sidecar_requests_total{ {{- $job }}, code=~"5.."}[5m])) / sum by (job, upstream) (rate(sfm_sidecar_requests_total{ {{- $job }}}[5m])) > 0.2 and sum by (job, upstream) (rate(sfm_sidecar_requests_total{ {{- $job }}}[5m])) > 0.05
          for: 5m
          labels:
            severity: critical
          annotations:
            summary: >-
              More than a fifth of the calls to {{ "{{ $labels.upstream }}" }} fail
            consequence: >-
              Users meet errors when they open or send prescriptions. A call that broke off may have done its work.
            action: >-
              Compare sfm_sidecar_refusals_total: with upstream-… or helseid-… codes it is the network, SFM's availability or HelseID; without, SFM answers so itself. Give SFM's support the sfm_trace_id from the log. The EPJ must not retry by status, only by Sidecar-Retryable.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarupstreamfailing
        - alert: SfmSidecarSessionRefreshFailing
          expr: >-
            sum by (job) (increase(sfm_sidecar_sfm_session_refreshes_total{ {{- $job }}, outcome=~"failed|lost"}[15m])) > 3
          for: 10m
          labels:
            severity: warning
          annotations:
            summary: >-
              Sessions at SFM are not given their new token
            consequence: >-
              Prescribers find SFM's window closed, or have to open it again, in the midst of their work.
            action: >-
              See the log for the upstream's answers. If HelseIDUnavailable or UpstreamFailing fires too, begin there.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarsessionrefreshfailing
        - alert: SfmSidecarDraining
          expr: >-
            sum by (job) ((sfm_sidecar_refusals_total{ {{- $job }}, code="draining"} unless sfm_sidecar_refusals_total{ {{- $job }}, code="draining"} offset 15m) or increase(sfm_sidecar_refusals_total{ {{- $job }}, code="draining"}[15m])) > 0
          for: 0m
          labels:
            severity: warning
          annotations:
            summary: >-
              A stopping sidecar refused calls of an EPJ that was still working
            consequence: >-
              The EPJ got 503 with Sidecar-Retryable: true. Where it does not try again, a user saw an error during a roll-out.
            action: >-
              Raise sfm-sidecar.shutdown.appSeconds above the time that the EPJ needs to end, or run the sidecar natively (sfm-sidecar.native).
            runbook_url: {{ $r.runbookUrl }}#sfmsidecardraining
        - alert: SfmSidecarRegistryBroken
          expr: >-
            max by (job) (sfm_sidecar_registry_broken{ {{- $job }}}) > 0
          for: 5m
          labels:
            severity: warning
          annotations:
            summary: >-
              The registry of tenants can't be read; an older content of it is in use
            consequence: >-
              Tenants that were added since are refused (tenant-unknown), and those that were removed may still call.
            action: >-
              Run sidecar tenants lint on the ConfigMap's or Secret's content; it names file, line and what to mend.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarregistrybroken
        - alert: SfmSidecarLimitReached
          expr: >-
            sum by (job) ((sfm_sidecar_refusals_total{ {{- $job }}, code="limit-reached"} unless sfm_sidecar_refusals_total{ {{- $job }}, code="limit-reached"} offset 10m) or increase(sfm_sidecar_refusals_total{ {{- $job }}, code="limit-reached"}[10m])) > 0
          for: 5m
          labels:
            severity: warning
          annotations:
            summary: >-
              Calls are refused because the sidecar is at one of its limits
            consequence: >-
              Some users wait, or see an error.
            action: >-
              Add replicas, or raise the limit that the log names (SIDECAR_HELSEID_CONCURRENCY, SIDECAR_CACHE_ENTRIES).
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarlimitreached
        - alert: SfmSidecarFault
          expr: >-
            sum by (job) ((sfm_sidecar_refusals_total{ {{- $job }}, code="internal"} unless sfm_sidecar_refusals_total{ {{- $job }}, code="internal"} offset 15m) or increase(sfm_sidecar_refusals_total{ {{- $job }}, code="internal"}[15m])) > 0
          for: 0m
          labels:
            severity: warning
          annotations:
            summary: >-
              The sidecar met a fault of its own
            consequence: >-
              A call was refused that should have been served.
            action: >-
              Look up the request_id in the log and report its cause to the sidecar's maintainers.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarfault
        - alert: SfmSidecarSlow
          expr: >-
            histogram_quantile(0.99, sum by (job, le) (rate(sfm_sidecar_overhead_seconds_bucket{ {{- $job }}}[10m]))) > 0.5
          for: 15m
          labels:
            severity: warning
          annotations:
            summary: >-
              The sidecar itself adds more than half a second to one call in a hundred
            consequence: >-
              Users wait longer at each step.
            action: >-
              Compare sfm_sidecar_token_request_duration_seconds: if it rose too, HelseID is slow. Otherwise see whether the container is throttled or short of memory.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarslow
        - alert: SfmSidecarAbsent
          expr: >-
            absent(sfm_sidecar_build_info{ {{- $job }}})
          for: 10m
          labels:
            severity: warning
          annotations:
            summary: >-
              No sidecar is seen by Prometheus
            consequence: >-
              None of the other alerts can fire.
            action: >-
              See that pods run and are ready, and that the PodMonitor finds them: its labels, and the ingress to the port sfm-admin.
            runbook_url: {{ $r.runbookUrl }}#sfmsidecarabsent
{{- end }}

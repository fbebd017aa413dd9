{{/* The sidecar's environment. Secrets are files that it reads, and never written here. */}}
{{- define "sfm-sidecar.env" -}}
{{- $v := include "sfm-sidecar.values" . | fromJson -}}
- name: HELSEID_ISSUER
  value: {{ $v.helseid.issuer | quote }}
- name: HELSEID_CLIENT_ID
  value: {{ $v.helseid.clientId | quote }}
- name: HELSEID_CLIENT_JWK_FILE
  value: {{ printf "/var/run/sfm-sidecar/client-key/%s" $v.helseid.clientKey.key | quote }}
- name: HELSEID_GRANT
  value: {{ join "," $v.helseid.grants | quote }}
- name: HELSEID_TENANCY
  value: {{ $v.helseid.tenancy | quote }}
- name: SFM_API
  value: {{ $v.sfm.api | quote }}
- name: SFM_UPSTREAMS
  value: {{ include "sfm-sidecar.upstreams" $v.sfm.upstreams | quote }}
- name: SFM_RESPONSE_TIMEOUT
  value: {{ printf "%ds" (int $v.sfm.responseTimeoutSeconds) | quote }}
{{- if or $v.tenants.configMapName $v.tenants.secretName }}
- name: TENANTS_FILE
  value: {{ printf "/etc/sfm-sidecar/tenants%s" ($v.tenants.key | empty | ternary "" (printf "/%s" $v.tenants.key)) | quote }}
{{- end }}
{{- with $v.tenants.policy }}
- name: TENANTS_POLICY
  value: {{ . | quote }}
{{- end }}
- name: SIDECAR_LISTEN
  value: {{ printf "127.0.0.1:%d" (int $v.ports.app) | quote }}
- name: SIDECAR_ADMIN_LISTEN
  # Beyond loopback it serves probes and metrics only.
  value: {{ printf "%s:%d" ($v.podMonitor.enabled | ternary "" "127.0.0.1") (int $v.ports.admin) | quote }}
{{- if $v.callerKey.secretName }}
- name: SIDECAR_CALLER_KEY_FILE
  value: {{ printf "/var/run/sfm-sidecar/caller-key/%s" $v.callerKey.key | quote }}
{{- end }}
{{- if $v.store.urlSecret.name }}
- name: SIDECAR_STORE_FILE
  value: {{ printf "/var/run/sfm-sidecar/store-url/%s" $v.store.urlSecret.key | quote }}
- name: SIDECAR_STORE_KEY_FILE
  value: {{ printf "/var/run/sfm-sidecar/store-key/%s" $v.store.sealingKey.key | quote }}
{{- end }}
{{- if $v.proxy.secretName }}
- name: HTTPS_PROXY_FILE
  value: {{ printf "/var/run/sfm-sidecar/proxy/%s" $v.proxy.key | quote }}
{{- end }}
{{- if $v.otlpHeaders.secretName }}
- name: OTEL_EXPORTER_OTLP_HEADERS_FILE
  value: {{ printf "/var/run/sfm-sidecar/otlp-headers/%s" $v.otlpHeaders.key | quote }}
{{- end }}
{{- with $v.proxy.noProxy }}
- name: NO_PROXY
  value: {{ . | quote }}
{{- end }}
{{- if $v.caCertificates.configMapName }}
- name: SIDECAR_CA_FILE
  value: {{ printf "/etc/sfm-sidecar/ca/%s" $v.caCertificates.key | quote }}
{{- end }}
# Native: the EPJ has ended before SIGTERM comes, so nobody calls any more. Otherwise
# both end at once, and the EPJ's last calls are still to be served.
{{- $minimum := $v.native | ternary 0 (int $v.shutdown.appSeconds) }}
- name: SIDECAR_MIN_SIGTERM_DELAY
  value: {{ printf "%ds" $minimum | quote }}
- name: SIDECAR_MAX_SIGTERM_DELAY
  value: {{ printf "%ds" (add $minimum (int $v.shutdown.drainSeconds)) | quote }}
- name: LOG_FORMAT
  value: json
{{- range $name, $value := $v.env }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* name=url pairs; keys of a map come sorted, so that nothing changes by chance. */}}
{{- define "sfm-sidecar.upstreams" -}}
{{- $pairs := list -}}
{{- range $name, $url := . }}{{ $pairs = append $pairs (printf "%s=%s" $name $url) }}{{ end -}}
{{- join "," $pairs -}}
{{- end }}

{{/* The values of this chart, in whatever chart they are used. */}}
{{- define "sfm-sidecar.values" -}}
{{- $v := index .Values "sfm-sidecar" -}}
{{- if not $v }}{{ fail "sfm-sidecar: the chart that includes the templates must have sfm-sidecar among its dependencies" }}{{ end -}}
{{- toJson $v -}}
{{- end }}

{{/* The name of the objects beside the pod. */}}
{{- define "sfm-sidecar.name" -}}
{{- printf "%s-sfm-sidecar" (.Release.Name | trunc 51 | trimSuffix "-") -}}
{{- end }}

{{/* The labels that the EPJ's pods carry. */}}
{{- define "sfm-sidecar.selectorLabels" -}}
{{- $v := include "sfm-sidecar.values" . | fromJson -}}
{{- if $v.selectorLabels -}}
{{- toYaml $v.selectorLabels -}}
{{- else -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- end }}

{{/* The labels of the objects beside the pod. */}}
{{- define "sfm-sidecar.labels" -}}
app.kubernetes.io/name: sfm-sidecar
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: {{ .Chart.Name }}
{{- end }}

{{/* What no schema can say: values that do not go together. Each message names the value. */}}
{{- define "sfm-sidecar.check" -}}
{{- $v := include "sfm-sidecar.values" . | fromJson -}}
{{- if not $v.helseid.issuer }}{{ fail "sfm-sidecar.helseid.issuer is required: the URL of HelseID" }}{{ end -}}
{{- if not $v.helseid.clientId }}{{ fail "sfm-sidecar.helseid.clientId is required: the client id that HelseID gave the client" }}{{ end -}}
{{- if not $v.sfm.upstreams }}{{ fail "sfm-sidecar.sfm.upstreams is required: name: URL, at least one" }}{{ end -}}
{{- $key := $v.helseid.clientKey -}}
{{- if not (or $key.secretName $key.volumeName) }}{{ fail "sfm-sidecar.helseid.clientKey.secretName is required: the Secret that holds the client's private key" }}{{ end -}}
{{- if and $key.secretName $key.volumeName }}{{ fail "sfm-sidecar.helseid.clientKey.secretName and sfm-sidecar.helseid.clientKey.volumeName exclude each other" }}{{ end -}}
{{- if and $v.tenants.configMapName $v.tenants.secretName }}{{ fail "sfm-sidecar.tenants.configMapName and sfm-sidecar.tenants.secretName exclude each other" }}{{ end -}}
{{- if and (has "client-credentials" $v.helseid.grants) (not $v.callerKey.secretName) (ne (get $v.env "SIDECAR_UNSAFE_NO_CALLER_KEY" | default "") "true") }}
{{- fail "sfm-sidecar.callerKey.secretName is required with client-credentials in sfm-sidecar.helseid.grants: nothing else stops another program of the pod" }}{{ end -}}
{{- if and (has "token-exchange" $v.helseid.grants) (not (get $v.env "HELSEID_SUBJECT_AUDIENCE")) }}
{{- fail "sfm-sidecar.env.HELSEID_SUBJECT_AUDIENCE is required with token-exchange in sfm-sidecar.helseid.grants" }}{{ end -}}
{{- if and $v.store.urlSecret.name (not $v.store.sealingKey.secretName) }}{{ fail "sfm-sidecar.store.sealingKey.secretName is required with sfm-sidecar.store.urlSecret.name: nothing is kept there unsealed" }}{{ end -}}
{{- $to := $v.networkPolicy.store -}}
{{- if and (not $v.networkPolicy.enabled) (or $to.cidrs $to.namespace $to.podLabels $to.ports) }}{{ fail "sfm-sidecar.networkPolicy.enabled is required with sfm-sidecar.networkPolicy.store: no policy is made without it" }}{{ end -}}
{{- if eq (int $v.ports.app) (int $v.ports.admin) }}{{ fail "sfm-sidecar.ports.admin is sfm-sidecar.ports.app: each needs a port of its own" }}{{ end -}}
{{- if lt (int $v.shutdown.drainSeconds) (int $v.sfm.responseTimeoutSeconds) }}
{{- fail (printf "sfm-sidecar.shutdown.drainSeconds (%d) is below sfm-sidecar.sfm.responseTimeoutSeconds (%d): a call that SFM is still working on would be cut off" (int $v.shutdown.drainSeconds) (int $v.sfm.responseTimeoutSeconds)) }}{{ end -}}
{{- end }}

{{/* sfm-sidecar.objects: all that can stand beside the pod, each where it is enabled. */}}
{{- define "sfm-sidecar.objects" -}}
{{- $v := include "sfm-sidecar.values" . | fromJson }}
{{- if $v.networkPolicy.enabled }}
---
{{ include "sfm-sidecar.networkPolicy" . }}
{{- end }}
{{- if $v.podMonitor.enabled }}
---
{{ include "sfm-sidecar.podMonitor" . }}
{{- end }}
{{- if $v.podDisruptionBudget.enabled }}
---
{{ include "sfm-sidecar.podDisruptionBudget" . }}
{{- end }}
{{- if $v.prometheusRule.enabled }}
---
{{ include "sfm-sidecar.prometheusRule" . }}
{{- end }}
{{- end }}

{{/*
sfm-sidecar.networkPolicy lets the pod reach DNS, HelseID, SFM, the store and the proxy,
and nothing else. Policies add up: what the EPJ needs besides stands in a policy of its
own. A list of no addresses makes no rule; an empty "to" would be open to everyone.
*/}}
{{- define "sfm-sidecar.networkPolicy" -}}
{{- $v := include "sfm-sidecar.values" . | fromJson -}}
{{- $n := $v.networkPolicy -}}
{{- $proxied := not (empty $n.proxy.cidrs) -}}
{{- $local := regexMatch "^http://(127\\.|localhost|\\[::1\\])" $v.helseid.issuer -}}
{{- if and (not $local) (not $proxied) (not $n.helseid.cidrs) }}{{ fail "sfm-sidecar.networkPolicy.helseid.cidrs is required with sfm-sidecar.networkPolicy.enabled: HelseID's addresses, or the proxy's in sfm-sidecar.networkPolicy.proxy.cidrs" }}{{ end -}}
{{- if and (not $local) (not $proxied) (not $n.sfm.cidrs) }}{{ fail "sfm-sidecar.networkPolicy.sfm.cidrs is required with sfm-sidecar.networkPolicy.enabled: SFM's addresses, or the proxy's in sfm-sidecar.networkPolicy.proxy.cidrs" }}{{ end -}}
{{- $toPods := and $n.store.namespace $n.store.podLabels -}}
{{- if and $v.store.urlSecret.name (not $n.store.cidrs) (not $toPods) }}{{ fail "sfm-sidecar.networkPolicy.store is required with sfm-sidecar.networkPolicy.enabled and a store: cidrs, or namespace and podLabels" }}{{ end -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "sfm-sidecar.name" . }}
  labels:
    {{- include "sfm-sidecar.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "sfm-sidecar.selectorLabels" . | nindent 6 }}
  policyTypes: [Egress]
  egress:
    - to:
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: {{ $n.dns.namespace | quote }}
          podSelector:
            matchLabels:
              {{- toYaml $n.dns.podLabels | nindent 14 }}
      ports:
        - {port: 53, protocol: UDP}
        - {port: 53, protocol: TCP}
    {{- range $peer := list $n.helseid $n.sfm $n.proxy }}
    {{- if $peer.cidrs }}
    - to:
        {{- range $peer.cidrs }}
        - ipBlock: {cidr: {{ . | quote }}}
        {{- end }}
      ports:
        - {port: {{ $peer.port }}, protocol: TCP}
    {{- end }}
    {{- end }}
    {{- if and $v.store.urlSecret.name (or $n.store.cidrs $toPods) }}
    - to:
        {{- range $n.store.cidrs }}
        - ipBlock: {cidr: {{ . | quote }}}
        {{- end }}
        {{- if $toPods }}
        - namespaceSelector:
            matchLabels:
              kubernetes.io/metadata.name: {{ $n.store.namespace | quote }}
          podSelector:
            matchLabels:
              {{- toYaml $n.store.podLabels | nindent 14 }}
        {{- end }}
      ports:
        {{- range $n.store.ports | default (list $n.store.port) }}
        - {port: {{ . }}, protocol: TCP}
        {{- end }}
    {{- end }}
{{- end }}

{{- define "sfm-sidecar.podMonitor" -}}
{{- $m := (include "sfm-sidecar.values" . | fromJson).podMonitor -}}
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ include "sfm-sidecar.name" . }}
  labels:
    {{- include "sfm-sidecar.labels" . | nindent 4 }}
    {{- with $m.labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  selector:
    matchLabels:
      {{- include "sfm-sidecar.selectorLabels" . | nindent 6 }}
  podMetricsEndpoints:
    - port: sfm-admin
      path: /metrics
      interval: {{ $m.interval }}
{{- end }}

{{- define "sfm-sidecar.podDisruptionBudget" -}}
{{- $b := (include "sfm-sidecar.values" . | fromJson).podDisruptionBudget -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "sfm-sidecar.name" . }}
  labels:
    {{- include "sfm-sidecar.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ $b.maxUnavailable }}
  # A pod that is not ready serves nobody; it must not hold up the emptying of a node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "sfm-sidecar.selectorLabels" . | nindent 6 }}
{{- end }}

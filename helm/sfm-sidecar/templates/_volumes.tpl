{{/*
sfm-sidecar.volumes: items for the pod's volumes. Files may be read by any user, whatever
fsGroup the pod has: only the sidecar's container mounts them. Whole volumes are mounted,
no subPath, so that a new key or registry arrives without a restart.
*/}}
{{- define "sfm-sidecar.volumes" -}}
{{- $v := include "sfm-sidecar.values" . | fromJson -}}
{{- with $v.helseid.clientKey }}
{{- if .secretName }}{{ include "sfm-sidecar.secretVolume" (dict "name" "client-key" "secret" .secretName "key" .key) }}{{ end }}
{{- end }}
{{- with $v.callerKey }}
{{- if .secretName }}{{ include "sfm-sidecar.secretVolume" (dict "name" "caller-key" "secret" .secretName "key" .key) }}{{ end }}
{{- end }}
{{- if $v.store.urlSecret.name }}
{{- with $v.store.urlSecret }}{{ include "sfm-sidecar.secretVolume" (dict "name" "store-url" "secret" .name "key" .key) }}{{ end }}
{{- with $v.store.sealingKey }}{{ include "sfm-sidecar.secretVolume" (dict "name" "store-key" "secret" .secretName "key" .key) }}{{ end }}
{{- end }}
{{- with $v.proxy }}
{{- if .secretName }}{{ include "sfm-sidecar.secretVolume" (dict "name" "proxy" "secret" .secretName "key" .key) }}{{ end }}
{{- end }}
{{- with $v.otlpHeaders }}
{{- if .secretName }}{{ include "sfm-sidecar.secretVolume" (dict "name" "otlp-headers" "secret" .secretName "key" .key) }}{{ end }}
{{- end }}
{{- if $v.tenants.secretName }}
- name: sfm-sidecar-tenants
  secret:
    secretName: {{ $v.tenants.secretName | quote }}
    defaultMode: 0444
{{- else if $v.tenants.configMapName }}
- name: sfm-sidecar-tenants
  configMap:
    name: {{ $v.tenants.configMapName | quote }}
    defaultMode: 0444
{{- end }}
{{- if $v.caCertificates.configMapName }}
- name: sfm-sidecar-ca
  configMap:
    name: {{ $v.caCertificates.configMapName | quote }}
    defaultMode: 0444
{{- end }}
{{- end }}

{{- define "sfm-sidecar.secretVolume" }}
- name: sfm-sidecar-{{ .name }}
  secret:
    secretName: {{ .secret | quote }}
    defaultMode: 0444
    items:
      - key: {{ .key | quote }}
        path: {{ .key | quote }}
{{- end }}

{{- define "sfm-sidecar.volumeMounts" -}}
{{- $v := include "sfm-sidecar.values" . | fromJson -}}
- name: {{ $v.helseid.clientKey.volumeName | default "sfm-sidecar-client-key" }}
  mountPath: /var/run/sfm-sidecar/client-key
  readOnly: true
{{- if $v.callerKey.secretName }}
- name: sfm-sidecar-caller-key
  mountPath: /var/run/sfm-sidecar/caller-key
  readOnly: true
{{- end }}
{{- if $v.store.urlSecret.name }}
- name: sfm-sidecar-store-url
  mountPath: /var/run/sfm-sidecar/store-url
  readOnly: true
- name: sfm-sidecar-store-key
  mountPath: /var/run/sfm-sidecar/store-key
  readOnly: true
{{- end }}
{{- if $v.proxy.secretName }}
- name: sfm-sidecar-proxy
  mountPath: /var/run/sfm-sidecar/proxy
  readOnly: true
{{- end }}
{{- if $v.otlpHeaders.secretName }}
- name: sfm-sidecar-otlp-headers
  mountPath: /var/run/sfm-sidecar/otlp-headers
  readOnly: true
{{- end }}
{{- if or $v.tenants.secretName $v.tenants.configMapName }}
- name: sfm-sidecar-tenants
  mountPath: /etc/sfm-sidecar/tenants
  readOnly: true
{{- end }}
{{- if $v.caCertificates.configMapName }}
- name: sfm-sidecar-ca
  mountPath: /etc/sfm-sidecar/ca
  readOnly: true
{{- end }}
{{- end }}

{{- define "epj.pod" -}}
{{- include "sfm-sidecar.pod" . }}
initContainers:
  {{- include "sfm-sidecar.initContainers" . | nindent 2 }}
containers:
  {{- include "sfm-sidecar.containers" . | nindent 2 }}
  - name: epj
    image: {{ .Values.image | quote }}
    env:
      - {name: SFM_URL, value: "http://localhost:{{ index .Values "sfm-sidecar" "ports" "app" }}"}
    securityContext:
      {{- include "sfm-sidecar.containerSecurityContext" . | nindent 6 }}
volumes:
  {{- with .Values.volumes }}{{ toYaml . | nindent 2 }}{{ end }}
  {{- include "sfm-sidecar.volumes" . | nindent 2 }}
{{- end }}

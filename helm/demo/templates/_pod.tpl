{{/* The pod of the Deployment and of the test: stand-ins, sidecar, and the EPJ that is given. */}}
{{- define "demo.pod" -}}
{{- include "sfm-sidecar.pod" .root }}
initContainers:
  # On loopback, as in every pod: it gives tokens to everybody who can reach it.
  - name: simulator
    image: {{ include "demo.image" .root }}
    imagePullPolicy: {{ .root.Values.simulator.image.pullPolicy }}
    restartPolicy: Always
    args: [-client-id, {{ index .root.Values "sfm-sidecar" "helseid" "clientId" | quote }}, -write-client-jwk, /keys/client.jwk]
    startupProbe:
      exec:
        command: [/simulator, probe]
      periodSeconds: 1
      timeoutSeconds: 5
      failureThreshold: 60
    resources:
      requests: {cpu: 20m, memory: 32Mi}
      limits: {memory: 128Mi}
    securityContext:
      {{- include "sfm-sidecar.containerSecurityContext" .root | nindent 6 }}
    volumeMounts:
      - {name: client-key, mountPath: /keys}
  {{- include "sfm-sidecar.initContainers" .root | nindent 2 }}
containers:
  - name: epj
    image: {{ include "demo.image" .root }}
    imagePullPolicy: {{ .root.Values.simulator.image.pullPolicy }}
    args: {{ toJson .args }}
    {{- if .probed }}
    # Ready when a log-in and a call have gone all the way, so that "helm install
    # --wait" tells whether it works.
    startupProbe:
      exec:
        command: [/simulator, epj, -sidecar, {{ include "demo.sidecar" .root | quote }}]
      periodSeconds: 2
      timeoutSeconds: 30
      failureThreshold: 30
    {{- end }}
    resources:
      requests: {cpu: 10m, memory: 16Mi}
      limits: {memory: 64Mi}
    securityContext:
      {{- include "sfm-sidecar.containerSecurityContext" .root | nindent 6 }}
volumes:
  - name: client-key
    emptyDir:
      medium: Memory
      sizeLimit: 1Mi
  {{- include "sfm-sidecar.volumes" .root | nindent 2 }}
{{- end }}

{{- define "demo.image" -}}
{{- with .Values.simulator.image }}{{ printf "%s:%s" .repository .tag | quote }}{{ end -}}
{{- end }}

{{- define "demo.sidecar" -}}
http://localhost:{{ index .Values "sfm-sidecar" "ports" "app" }}
{{- end }}

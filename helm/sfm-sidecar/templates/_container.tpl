{{/*
sfm-sidecar.initContainers and sfm-sidecar.containers: put both into the pod, below the
key of the same name. By the value "native" one of them renders the sidecar and the
other nothing. The sidecar must be the first of the init containers that are to call it.
*/}}
{{- define "sfm-sidecar.initContainers" -}}
{{- if (include "sfm-sidecar.values" . | fromJson).native }}{{ include "sfm-sidecar.container" . }}{{ end -}}
{{- end }}

{{- define "sfm-sidecar.containers" -}}
{{- if not (include "sfm-sidecar.values" . | fromJson).native }}{{ include "sfm-sidecar.container" . }}{{ end -}}
{{- end }}

{{/*
sfm-sidecar.container is the sidecar itself, as an item of a list of containers.

Native, it starts before the EPJ (its startup probe holds the next container back), ends
after it, and does not keep a job from completing. As an ordinary container it starts
beside the EPJ and gets its SIGTERM at the same time, so it must go on serving for as
long as the EPJ may need.
*/}}
{{- define "sfm-sidecar.container" -}}
{{- include "sfm-sidecar.check" . -}}
{{- $v := include "sfm-sidecar.values" . | fromJson -}}
- name: sfm-sidecar
  image: {{ include "sfm-sidecar.image" . | quote }}
  imagePullPolicy: {{ $v.image.pullPolicy }}
  {{- if $v.native }}
  restartPolicy: Always
  {{- end }}
  env:
    {{- include "sfm-sidecar.env" . | nindent 4 }}
  {{- if $v.podMonitor.enabled }}
  ports:
    - name: sfm-admin
      containerPort: {{ $v.ports.admin }}
      protocol: TCP
  {{- end }}
  # By the program itself: the listeners are on loopback, where the kubelet can't ask.
  # None of them asks HelseID, SFM or the store.
  startupProbe:
    exec:
      command: [/sidecar, probe, startup]
    periodSeconds: 1
    timeoutSeconds: 5
    failureThreshold: 60
  readinessProbe:
    exec:
      command: [/sidecar, probe, ready]
    periodSeconds: 5
    timeoutSeconds: 5
  livenessProbe:
    exec:
      command: [/sidecar, probe, live]
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: 6
  resources:
    {{- toYaml $v.resources | nindent 4 }}
  securityContext:
    {{- include "sfm-sidecar.containerSecurityContext" . | nindent 4 }}
  volumeMounts:
    {{- include "sfm-sidecar.volumeMounts" . | nindent 4 }}
{{- end }}

{{- define "sfm-sidecar.image" -}}
{{- $i := (include "sfm-sidecar.values" . | fromJson).image -}}
{{- $tag := $i.tag | default "0.1.0" -}}
{{- if $i.digest }}{{ printf "%s@%s" $i.repository $i.digest }}{{ else }}{{ printf "%s:%s" $i.repository $tag }}{{ end -}}
{{- end }}

{{/* The restricted Pod Security Standard, for the container and for the pod. */}}
{{- define "sfm-sidecar.containerSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
privileged: false
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "sfm-sidecar.podSecurityContext" -}}
runAsNonRoot: true
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/*
sfm-sidecar.terminationGracePeriodSeconds covers the EPJ's own end, then the end of the
calls that are still open, and a little for the kubelet.
*/}}
{{- define "sfm-sidecar.terminationGracePeriodSeconds" -}}
{{- $s := (include "sfm-sidecar.values" . | fromJson).shutdown -}}
{{- add (int $s.appSeconds) (int $s.drainSeconds) 5 -}}
{{- end }}

{{/*
sfm-sidecar.pod is what the pod as a whole needs. Leave out what your chart sets itself.
Neither the sidecar nor what it serves needs the cluster's API, so no token is mounted.
*/}}
{{- define "sfm-sidecar.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ include "sfm-sidecar.terminationGracePeriodSeconds" . }}
securityContext:
  {{- include "sfm-sidecar.podSecurityContext" . | nindent 2 }}
{{- end }}

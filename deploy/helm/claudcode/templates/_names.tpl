{{/* What objects and labels are called, and what all pods share. */}}

{{- define "claudcode.name" -}}
{{- if contains "claudcode" .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-claudcode" .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "claudcode.selector" -}}
app.kubernetes.io/name: claudcode
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "claudcode.labels" -}}
{{ include "claudcode.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The image; `tag` is a part's own and wins. */}}
{{- define "claudcode.image" -}}
{{- $image := .root.Values.image -}}
{{- if and $image.digest (not .tag) -}}
{{ printf "%s@%s" $image.repository $image.digest }}
{{- else -}}
{{ printf "%s:%s" $image.repository (.tag | default $image.tag | default .root.Chart.AppVersion) }}
{{- end -}}
{{- end }}

{{- define "claudcode.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{ .Values.serviceAccount.name }}
{{- else -}}
{{ ternary (include "claudcode.name" .) "default" .Values.serviceAccount.create }}
{{- end -}}
{{- end }}

{{- define "claudcode.secret" -}}
{{ .Values.secrets.existingSecret | default (include "claudcode.name" .) }}
{{- end }}

{{/* The settings that are no secrets, by name; a value of your own wins. */}}
{{- define "claudcode.settings" -}}
{{- $settings := dict "CLAUDCODE_SHUTDOWN_SECONDS_MAX" .Values.gateway.shutdownSeconds -}}
{{- with .Values.publicUrl -}}
{{- $_ := set $settings "CLAUDCODE_PUBLIC_URL" . -}}
{{- $_ := set $settings "CLAUDCODE_ALLOWED_HOSTS" (urlParse .).hostname -}}
{{- $_ := set $settings "CLAUDCODE_CSRF_TRUSTED_ORIGINS" . -}}
{{- end -}}
{{- with .Values.trustedProxies -}}
{{- $_ := set $settings "CLAUDCODE_TRUSTED_PROXIES" (join "," .) -}}
{{- end -}}
{{ merge (deepCopy .Values.settings) $settings | toYaml }}
{{- end }}

{{/* The environment of every container; `secret` is the name of the Secret. */}}
{{- define "claudcode.environment" -}}
env:
{{- range $name, $value := include "claudcode.settings" .root | fromYaml }}
  - name: {{ $name }}
    value: {{ if kindIs "float64" $value }}{{ int64 $value | quote }}{{ else }}{{ $value | quote }}{{ end }}
{{- end }}
envFrom:
  - secretRef:
      name: {{ .secret }}
{{- end }}

{{- define "claudcode.container" -}}
image: {{ include "claudcode.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: temporary
    mountPath: /tmp
{{- end }}

{{- define "claudcode.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
volumes:
  - name: temporary
    emptyDir:
      sizeLimit: 512Mi
{{- end }}

{{/* Where pods of `part` may run; `values` are that part's. */}}
{{- define "claudcode.placement" -}}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- if hasKey .values "topologySpreadConstraints" }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "claudcode.selector" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .part }}
  {{- with .values.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What makes pods start anew when a Secret made from values changes. */}}
{{- define "claudcode.podAnnotations" -}}
{{- if or .values.podAnnotations (not .root.Values.secrets.existingSecret) }}
annotations:
  {{- if not .root.Values.secrets.existingSecret }}
  checksum/secrets: {{ toJson .root.Values.secrets.values | sha256sum }}
  {{- end }}
  {{- with .values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}

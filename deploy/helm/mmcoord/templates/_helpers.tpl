{{- define "mmcoord.name" -}}
{{- $name := printf "%s-%s" .Release.Name .Chart.Name }}
{{- if contains .Chart.Name .Release.Name }}{{ $name = .Release.Name }}{{ end }}
{{- $name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "mmcoord.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "mmcoord.labels" -}}
{{ include "mmcoord.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "mmcoord.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "mmcoord.claim" -}}
{{ .Values.data.existingClaim | default (printf "%s-data" (include "mmcoord.name" .)) }}
{{- end }}

{{/* Several processes share a store: it must be PostgreSQL then. */}}
{{- define "mmcoord.check" -}}
{{- $some := 0 }}
{{- range $name, $process := .Values.processes }}
{{- if $process }}
{{- $some = add $some ($process.replicas | default 1) }}
{{- if and (gt (int ($process.replicas | default 1)) 1) (ne $process.roles "page") }}
{{- fail (printf "processes.%s: only a process with the role page alone may have replicas" $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and (gt (int $some) 1) (not .Values.database.url) }}
{{- fail "several processes need PostgreSQL: set database.url" }}
{{- end }}
{{- end }}

{{- define "mmcoord.container" -}}
image: {{ include "mmcoord.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  {{- with .Values.database.url }}
  - name: MMCOORD_DATABASE_URL
    value: {{ . | quote }}
  {{- end }}
  {{- if .Values.database.passwordSecret }}
  - name: PGPASSFILE
    value: /run/pgpass/pgpass
  {{- end }}
  - name: MMCOORD_DATA_DIR
    value: /var/lib/mmcoord
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
volumeMounts:
  - { name: config, mountPath: /etc/mmcoord, readOnly: true }
  - { name: data, mountPath: /var/lib/mmcoord }
  - { name: cache, mountPath: /var/cache/mmcoord }
  - { name: tmp, mountPath: /tmp }
  {{- if .Values.credentials }}
  - { name: credentials, mountPath: /run/credentials, readOnly: true }
  {{- end }}
  {{- if .Values.database.passwordSecret }}
  - { name: pgpass, mountPath: /run/pgpass, readOnly: true }
  {{- end }}
{{- end }}

{{- define "mmcoord.pod" -}}
automountServiceAccountToken: false
# Kubernetes would set MMCOORD_SERVICE_HOST and the like, which mmcoord takes for settings.
enableServiceLinks: false
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: config
    configMap: { name: {{ include "mmcoord.name" . }} }
  - name: data
    persistentVolumeClaim: { claimName: {{ include "mmcoord.claim" . }} }
  - name: cache
    emptyDir: { sizeLimit: {{ .Values.cacheSizeLimit }} }
  - name: tmp
    emptyDir: { sizeLimit: 1Gi }
  {{- with .Values.credentials }}
  - name: credentials
    secret: { secretName: {{ . }}, defaultMode: 0440 }
  {{- end }}
  {{- with .Values.database.passwordSecret }}
  # libpq reads a password file only where nobody else can: mmcoord is its group, so copied.
  - name: pgpass-secret
    secret: { secretName: {{ . }}, defaultMode: 0440 }
  - name: pgpass
    emptyDir: { medium: Memory, sizeLimit: 1Mi }
  {{- end }}
{{- if .Values.database.passwordSecret }}
initContainers:
  - name: pgpass
    image: {{ include "mmcoord.image" . | quote }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command: ["/bin/sh", "-ec", "umask 077; cp /run/pgpass-secret/pgpass /run/pgpass/pgpass; chmod 600 /run/pgpass/pgpass"]
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: { drop: [ALL] }
    resources:
      requests: { cpu: 10m, memory: 16Mi }
      limits: { cpu: 100m, memory: 64Mi }
    volumeMounts:
      - { name: pgpass-secret, mountPath: /run/pgpass-secret, readOnly: true }
      - { name: pgpass, mountPath: /run/pgpass }
{{- end }}
{{- end }}

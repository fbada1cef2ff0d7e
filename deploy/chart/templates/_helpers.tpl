{{- define "trackside.name" -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{- end }}
{{- define "trackside.labels" -}}
app.kubernetes.io/name: trackside
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}
{{- define "trackside.image" -}}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{- end }}
{{- define "trackside.keys" -}}{{ .Values.keys.existingSecret | default (printf "%s-keys" (include "trackside.name" .)) }}{{- end }}
{{- define "trackside.taskNamespace" -}}{{ .Values.tasks.namespace | default .Release.Namespace }}{{- end }}
{{- define "trackside.security" -}}
runAsNonRoot: true
runAsUser: 50000
runAsGroup: 50000
fsGroup: 50000
seccompProfile: {type: RuntimeDefault}
{{- end }}
{{- define "trackside.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
{{- define "trackside.env" -}}
- {name: TRACKSIDE_HOME, value: /home/trackside}
- {name: TRACKSIDE_HOST, value: 0.0.0.0}
- {name: TRACKSIDE_PORT, value: "8080"}
- {name: TRACKSIDE_LOGS_FOLDER, value: /logs}
- {name: TRACKSIDE_DAGS_FOLDER, value: /dags}
- {name: TRACKSIDE_EXECUTOR, value: {{ .Values.executors | quote }}}
{{- $web := printf "%s-web" (include "trackside.name" .) }}
- name: TRACKSIDE_ALLOWED_HOSTS
  value: {{ list .Values.allowedHosts .Values.ingress.host $web (printf "%s.%s" $web .Release.Namespace) (printf "%s.%s.svc" $web .Release.Namespace) (printf "%s.%s.svc.cluster.local" $web .Release.Namespace) "localhost" "127.0.0.1" | compact | join "," | quote }}
{{- if and .Values.ingress.enabled (not (hasKey .Values.env "TRACKSIDE_TRUSTED_ORIGINS")) }}
# the ingress ends TLS: without this, forms that come from https pages would be refused
- {name: TRACKSIDE_TRUSTED_ORIGINS, value: "{{ if .Values.ingress.tlsSecret }}https{{ else }}http{{ end }}://{{ .Values.ingress.host }}"}
{{- end }}
- name: DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.database.existingSecret | default (printf "%s-database" (include "trackside.name" .)) }}, key: DATABASE_URL}}
{{- range list "TRACKSIDE_SECRET_KEY" "TRACKSIDE_FERNET_KEYS" "TRACKSIDE_JWT_KEY" "TRACKSIDE_WORKER_TOKEN" }}
- name: {{ . }}
  valueFrom: {secretKeyRef: {name: {{ include "trackside.keys" $ }}, key: {{ . }}}}
{{- end }}
{{- if .Values.dags.bundles }}
- {name: TRACKSIDE_DAG_BUNDLES, value: {{ .Values.dags.bundles | quote }}}
{{- end }}
{{- if .Values.celeryBrokerUrl }}
- {name: TRACKSIDE_CELERY_BROKER_URL, value: {{ .Values.celeryBrokerUrl | quote }}}
{{- end }}
- {name: TRACKSIDE_KUBERNETES_NAMESPACE, value: {{ include "trackside.taskNamespace" . }}}
- {name: TRACKSIDE_KUBERNETES_IMAGE, value: {{ .Values.taskImage | quote }}}
- {name: TRACKSIDE_KUBERNETES_API_URL, value: {{ .Values.tasks.apiUrl | default (printf "http://%s-web.%s.svc:%v" (include "trackside.name" .) .Release.Namespace .Values.service.port) | quote }}}
- {name: TRACKSIDE_KUBERNETES_SERVICE_ACCOUNT, value: {{ .Values.tasks.serviceAccount | quote }}}
- {name: TRACKSIDE_KUBERNETES_MAX_PODS, value: {{ .Values.tasks.maxPods | quote }}}
{{- with .Values.image.pullSecrets }}
- {name: TRACKSIDE_KUBERNETES_IMAGE_PULL_SECRETS, value: {{ join "," . | quote }}}
{{- end }}
{{- if .Values.tasks.podTemplate }}
- {name: TRACKSIDE_KUBERNETES_POD_TEMPLATE_FILE, value: /etc/trackside/pod.yaml}
{{- end }}
{{- range $name, $value := .Values.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
{{- define "trackside.volumes" -}}
- {name: home, emptyDir: {}}
- {name: tmp, emptyDir: {}}
- name: logs
  persistentVolumeClaim: {claimName: {{ .Values.logs.existingClaim | default (printf "%s-logs" (include "trackside.name" .)) }}}
- name: dags
  {{- if .Values.dags.volume }}
  {{- toYaml .Values.dags.volume | nindent 2 }}
  {{- else }}
  emptyDir: {}
  {{- end }}
{{- if .Values.tasks.podTemplate }}
- {name: etc, configMap: {name: {{ include "trackside.name" . }}-pod}}
{{- end }}
{{- end }}
{{- define "trackside.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - {name: {{ . }}}
  {{- end }}
{{- end }}
{{- end }}
{{- define "trackside.mounts" -}}
- {name: home, mountPath: /home/trackside}
- {name: tmp, mountPath: /tmp}
- {name: logs, mountPath: /logs}
- {name: dags, mountPath: /dags, readOnly: true}
{{- if .Values.tasks.podTemplate }}
- {name: etc, mountPath: /etc/trackside, readOnly: true}
{{- end }}
{{- end }}

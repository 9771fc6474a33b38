{{- define "aquila-mde.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "aquila-mde.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "aquila-mde.labels" -}}
{{ include "aquila-mde.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* A ConfigMap is no place for a secret, and two places for one setting are one too many. */}}
{{- define "aquila-mde.settings" -}}
{{- $settings := .Values.settings -}}
{{- range list "client_secret" "password" "api_key" -}}
{{- if regexMatch (printf "(?m)^[ -]*%s:" .) (toYaml $settings) -}}
{{- fail (printf "settings hold %s, which is a secret: put it into a Secret and name that in secret.environment or secret.files" .) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := dict "state" "state.kind" "monitoring" "monitoring.port" -}}
{{- if hasKey $settings $name -}}
{{- fail (printf "settings.%s is set by the chart: use %s" $name $value) -}}
{{- end -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

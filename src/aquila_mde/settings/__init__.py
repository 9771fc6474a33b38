"""Every setting of the collector: one YAML file, overridden by environment variables.

Variables: ``AQUILA_TENANT_ID``, ``AQUILA_CLIENT_ID``, ``AQUILA_CLIENT_SECRET``,
``AQUILA_CLIENT_SECRET_FILE``, ``AQUILA_CERTIFICATE``, ``AQUILA_CLOUD``, ``AQUILA_NAMESPACE``,
``AQUILA_STATE``, ``AQUILA_CA_FILE`` and, for the engine, ``ES_URL``, ``ES_API_KEY``,
``ES_USERNAME``, ``ES_PASSWORD``, ``ES_CA_FILE``, and, for Kibana, ``KIBANA_URL``,
``KIBANA_API_KEY``, ``KIBANA_CA_FILE`` and ``KIBANA_SPACE``. Any other setting is reached by its
path with two underscores, for example ``AQUILA_TENANT__API_URL``. Those of a tenant are for a file
with one tenant, not for one with a list of them.
"""

from aquila_mde.settings.load import (
    VARIABLES,
    find_engine_settings,
    load_engine_settings,
    load_kibana_settings,
    load_monitoring_settings,
    load_onboarding_settings,
    load_places,
    load_settings,
)
from aquila_mde.settings.parts import (
    CREDENTIALS,
    CloudName,
    ElasticsearchSettings,
    HuntingSettings,
    KibanaSettings,
    MonitoringSettings,
    StreamSettings,
    TenantSettings,
    UnfinishedTenant,
)
from aquila_mde.settings.whole import (
    AllSettings,
    OnboardingSettings,
    Settings,
    interval_of,
    is_enabled,
)

__all__ = [
    "CREDENTIALS",
    "VARIABLES",
    "AllSettings",
    "CloudName",
    "ElasticsearchSettings",
    "HuntingSettings",
    "KibanaSettings",
    "MonitoringSettings",
    "OnboardingSettings",
    "Settings",
    "StreamSettings",
    "TenantSettings",
    "UnfinishedTenant",
    "find_engine_settings",
    "interval_of",
    "is_enabled",
    "load_engine_settings",
    "load_kibana_settings",
    "load_monitoring_settings",
    "load_onboarding_settings",
    "load_places",
    "load_settings",
]

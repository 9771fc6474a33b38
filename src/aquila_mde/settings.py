"""Every setting of the collector: one YAML file, overridden by environment variables.

Variables: ``AQUILA_TENANT_ID``, ``AQUILA_CLIENT_ID``, ``AQUILA_CLIENT_SECRET``,
``AQUILA_CLIENT_SECRET_FILE``, ``AQUILA_CERTIFICATE``, ``AQUILA_CLOUD``, ``AQUILA_NAMESPACE``,
``AQUILA_STATE``, ``AQUILA_CA_FILE`` and, for the engine, ``ES_URL``, ``ES_API_KEY``,
``ES_USERNAME``, ``ES_PASSWORD``, ``ES_CA_FILE``, and, for Kibana, ``KIBANA_URL``,
``KIBANA_API_KEY``, ``KIBANA_CA_FILE`` and ``KIBANA_SPACE``. Any other setting is reached by its
path with two underscores, for example ``AQUILA_TENANT__API_URL``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from aquila_mde.errors import ConfigurationError
from aquila_mde.streams.collect_spec import Duration
from aquila_mde.streams.faults import FaultsFoundError
from aquila_mde.streams.stream import Stream
from aquila_mde.streams.yaml_source import YamlSource, dotted, read_yaml

CloudName = Literal["commercial", "gcc", "gcc_high", "dod"]
_HTTPS = r"^https://[^/\s]+(/\S*)?$"
CREDENTIALS = ("client_secret", "client_secret_file", "client_secret_keyring", "certificate")
"""The settings of a tenant of which one, and only one, says what the application signs in with."""
_CREDENTIALS_TEXT = f"{', '.join(CREDENTIALS[:-1])} or {CREDENTIALS[-1]}"
_VARIABLES = {
    "AQUILA_TENANT_ID": ("tenant", "id"),
    "AQUILA_TENANT_NAME": ("tenant", "name"),
    "AQUILA_CLIENT_ID": ("tenant", "client_id"),
    "AQUILA_CLIENT_SECRET": ("tenant", "client_secret"),
    "AQUILA_CLIENT_SECRET_FILE": ("tenant", "client_secret_file"),
    "AQUILA_CERTIFICATE": ("tenant", "certificate"),
    "AQUILA_CLOUD": ("tenant", "cloud"),
    "AQUILA_CA_FILE": ("tenant", "ca_file"),
    "AQUILA_NAMESPACE": ("tenant", "namespace"),
    "ES_URL": ("elasticsearch", "url"),
    "ES_API_KEY": ("elasticsearch", "api_key"),
    "ES_USERNAME": ("elasticsearch", "username"),
    "ES_PASSWORD": ("elasticsearch", "password"),
    "ES_CA_FILE": ("elasticsearch", "ca_file"),
    "KIBANA_URL": ("kibana", "url"),
    "KIBANA_API_KEY": ("kibana", "api_key"),
    "KIBANA_CA_FILE": ("kibana", "ca_file"),
    "KIBANA_SPACE": ("kibana", "space"),
}


def _place(value: object) -> object:
    if not isinstance(value, str | Path) or not Path(value).name:
        raise ValueError("must be the path of a file, or elasticsearch")
    return value


_State = Annotated[Literal["elasticsearch"] | Path, BeforeValidator(_place)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class UnfinishedTenant(_Part):
    """What is known of a tenant in which the application may not be registered yet."""

    id: str | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    client_secret_file: Path | None = None
    client_secret_keyring: str | None = Field(default=None, min_length=1)
    """The entry of the system's keyring that holds the secret."""
    certificate: Path | None = None
    """A PEM file with the private key and the certificate."""
    name: str | None = None
    namespace: str = Field(default="default", pattern=r"^[^\\/*?\"<>|\s,#:A-Z-]{1,100}$")
    cloud: CloudName = "commercial"
    sign_in_url: str | None = Field(default=None, pattern=_HTTPS)
    api_url: str | None = Field(default=None, pattern=_HTTPS)
    resource: str | None = None
    """The audience of the token, where it is not the one of the cloud."""
    graph_url: str | None = Field(default=None, pattern=_HTTPS)
    portal_url: str | None = Field(default=None, pattern=_HTTPS)
    ca_file: Path | None = None
    """Certificates to trust beside the system's, for those behind an inspecting proxy."""

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        if sum(getattr(self, name) is not None for name in CREDENTIALS) > 1:
            raise ValueError(f"has several credentials: keep one of {_CREDENTIALS_TEXT}")
        return self


class TenantSettings(UnfinishedTenant):
    """One Defender tenant and the Entra application that reads it."""

    id: str = Field(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
    client_id: str = Field(min_length=1)

    @model_validator(mode="after")
    def _some_credential(self) -> Self:
        if all(getattr(self, name) is None for name in CREDENTIALS):
            named = _CREDENTIALS_TEXT.replace("t,", "t (AQUILA_CLIENT_SECRET),", 1)
            raise ValueError(f"needs a credential: {named}")
        return self


class ElasticsearchSettings(_Part):
    """The engine that the records are written to."""

    url: str = Field(pattern=r"^https?://[^/\s@]+(/\S*)?$")
    api_key: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    compression: Literal["auto", "always", "never"] = "auto"
    """Whether records are sent as gzip; ``auto`` measures whether that is faster."""

    @model_validator(mode="after")
    def _one_login(self) -> ElasticsearchSettings:
        if self.api_key and self.username:
            raise ValueError("has both api_key and username: keep one")
        if bool(self.username) != bool(self.password):
            raise ValueError("username and password go together")
        return self


class KibanaSettings(_Part):
    """The Kibana whose Fleet installs the package.

    Without a login of its own it gets that of the engine: Kibana passes it on to the engine.
    """

    url: str = Field(pattern=r"^https?://[^/\s@]+(/\S*)?$")
    api_key: SecretStr | None = None
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    space: str | None = Field(default=None, pattern=r"^[a-z0-9_-]+$")

    @model_validator(mode="after")
    def _one_login(self) -> KibanaSettings:
        if self.api_key and self.username:
            raise ValueError("has both api_key and username: keep one")
        if bool(self.username) != bool(self.password):
            raise ValueError("username and password go together")
        return self


class StreamSettings(_Part):
    """What a user may change about one stream."""

    enabled: bool | None = None
    """None: as the stream itself says, which is on for all but hunting."""
    interval: Duration | None = None
    look_back: Duration | None = None


class HuntingSettings(_Part):
    """Which hunting queries are run, and where. The stream hunting turns them on."""

    api: Literal["defender", "graph"] = "defender"
    """Microsoft Graph has more tables (mail, identities) and needs another permission."""
    queries: tuple[str, ...] | None = None
    """The names of the queries that are run; none: all that the API has tables for."""
    folder: Path | None = None
    """A folder with queries of one's own, beside those of the package."""
    row_limit: int | None = Field(default=None, ge=100, le=100_000)
    """Rows after which the tenant cuts an answer, where that is not the documented number."""


class MonitoringSettings(_Part):
    """Where a running collector shows how it is: ``/metrics``, ``/healthz`` and ``/readyz``."""

    port: int | None = Field(default=None, ge=1, le=65_535)
    """None: nowhere."""
    address: str = Field(default="127.0.0.1", min_length=1)


class _Layered(BaseSettings):
    """Settings of which the environment has the last word."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="AQUILA_",
        env_nested_delimiter="__",
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which is handed in as init arguments."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings


class Settings(_Layered):
    """Everything that one run of the collector is told."""

    tenant: TenantSettings
    elasticsearch: ElasticsearchSettings
    kibana: KibanaSettings | None = None
    state: _State = Path("aquila-state.sqlite3")
    """What remembers what was delivered: a file, which moves with the collector, or the engine."""
    streams: dict[str, StreamSettings] = {}
    hunting: HuntingSettings = HuntingSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def stream(self, name: str) -> StreamSettings:
        """The settings of the stream ``name``, with defaults where nothing was set."""
        return self.streams.get(name, StreamSettings())


def is_enabled(stream: Stream, streams: Mapping[str, StreamSettings]) -> bool:
    """Whether ``stream`` is collected: the settings have the say, then the stream itself."""
    said = streams.get(stream.name, StreamSettings()).enabled
    return stream.collect.enabled if said is None else said


_Model = TypeVar("_Model", bound=_Layered)


class _EngineOnly(_Layered):
    """Settings of which only the engine's part is read."""

    model_config = SettingsConfigDict(extra="ignore")

    elasticsearch: ElasticsearchSettings


class OnboardingSettings(_Layered):
    """What is known before the application is registered."""

    model_config = SettingsConfigDict(extra="ignore")

    tenant: UnfinishedTenant = UnfinishedTenant()
    streams: dict[str, StreamSettings] = {}
    hunting: HuntingSettings = HuntingSettings()


class _MaybeEngine(_Layered):
    """Settings of which only the engine's part is read, and that need not have one."""

    model_config = SettingsConfigDict(extra="ignore")

    elasticsearch: ElasticsearchSettings | None = None


class _KibanaOnly(_Layered):
    """Settings of which only Kibana's part is read."""

    model_config = SettingsConfigDict(extra="ignore")

    kibana: KibanaSettings | None = None


def load_settings(file: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of ``file`` (may be none) and the environment.

    Raises :class:`ConfigurationError` that names every setting that is missing or wrong, by file
    and line where it came from a file, and never shows a value that may be a secret.
    """
    return _load(Settings, file, environment)


def load_onboarding_settings(
    file: Path | None, environment: Mapping[str, str] | None = None
) -> OnboardingSettings:
    """What is known of a tenant before the application is registered; an absent file is empty."""
    there = file if file is not None and file.exists() else None
    return _load(OnboardingSettings, there, environment, ("tenant",))


def load_engine_settings(
    file: Path | None, environment: Mapping[str, str] | None = None
) -> ElasticsearchSettings:
    """Where the engine is; who installs assets there needs no credential of a tenant."""
    return _load(_EngineOnly, file, environment).elasticsearch


def find_engine_settings(
    file: Path | None, environment: Mapping[str, str] | None = None, *, url: str | None = None
) -> ElasticsearchSettings | None:
    """Where the engine is; ``None`` where nobody has said so. ``url`` wins."""
    said = {"url": url} if url else {}
    return _load(_MaybeEngine, file, environment, ("elasticsearch",), engine=said).elasticsearch


def load_kibana_settings(
    file: Path | None,
    environment: Mapping[str, str] | None = None,
    *,
    url: str | None = None,
    space: str | None = None,
) -> KibanaSettings | None:
    """Where Kibana is; ``None`` where nobody has said so. ``url`` and ``space`` win.

    What Kibana's part lacks of a login and a ca_file is taken from the engine's.
    """
    said = {name: value for name, value in (("url", url), ("space", space)) if value}
    return _load(_KibanaOnly, file, environment, ("elasticsearch", "kibana"), kibana=said).kibana


def _load(
    model: type[_Model],
    file: Path | None,
    environment: Mapping[str, str] | None,
    sections: tuple[str, ...] = ("tenant", "elasticsearch"),
    *,
    kibana: dict[str, str] | None = None,
    engine: dict[str, str] | None = None,
) -> _Model:
    environment = os.environ if environment is None else environment
    source: YamlSource | None = None
    values: dict[str, Any] = {}
    if file is not None:
        source, faults = read_yaml(file)
        if faults or source is None:
            raise FaultsFoundError(faults)
        values = {} if source.values is None else source.values
        if not isinstance(values, dict):
            raise ConfigurationError(f"{file} must hold a mapping of settings")
    try:
        merged = _with_variables(values, environment, sections)
        if engine is not None:
            merged = _for_engine(merged, engine)
        return model(**(merged if kibana is None else _for_kibana(merged, kibana)))
    except ValidationError as error:
        lines = [_explain(item, source) for item in error.errors(include_url=False)]
        raise ConfigurationError(
            "The settings are not complete:\n" + "\n".join(f"  {line}" for line in lines),
            hint="Set them in the settings file (--config) or by the environment variable named.",
        ) from None


def _with_variables(
    values: dict[str, Any], environment: Mapping[str, str], sections: tuple[str, ...]
) -> dict[str, Any]:
    merged = {
        key: dict(value) if isinstance(value, dict) else value for key, value in values.items()
    }
    for variable, (section, key) in _VARIABLES.items():
        if section in sections and environment.get(variable):
            part = merged.setdefault(section, {})
            if isinstance(part, dict):
                part[key] = environment[variable]
    return merged


def _for_engine(values: dict[str, Any], said: dict[str, str]) -> dict[str, Any]:
    """``values`` with what was said on the command line; a login without a URL is no engine."""
    engine = values.get("elasticsearch") or {}
    if not isinstance(engine, dict):
        return values
    engine = engine | said
    return values | {"elasticsearch": engine if engine.get("url") else None}


def _for_kibana(values: dict[str, Any], said: dict[str, str]) -> dict[str, Any]:
    """``values`` with what was said on the command line and what the engine's part lends."""
    kibana, engine = values.get("kibana") or {}, values.get("elasticsearch")
    if not isinstance(kibana, dict):
        return values
    kibana = kibana | said
    if not kibana.get("url"):
        return values | {"kibana": kibana if said else None}
    if isinstance(engine, dict):
        login = ("api_key", "username", "password")
        lent = () if any(kibana.get(key) for key in login) else login
        for key in (*lent, "ca_file"):
            if engine.get(key) is not None:
                kibana.setdefault(key, engine[key])
    return values | {"kibana": kibana}


def _explain(item: Any, source: YamlSource | None) -> str:
    location = tuple(item["loc"])
    name = dotted(location)
    variable = next((v for v, path in _VARIABLES.items() if path == location[:2]), None)
    if variable is None and len(location) == 1 and location[0] in ("state", "log_level"):
        variable = f"AQUILA_{str(location[0]).upper()}"
    problem = str(item["msg"]).removeprefix("Value error, ")
    problem = problem[:1].lower() + problem[1:]
    if item["type"] == "missing":
        problem = "is missing"
    elif item["type"] == "extra_forbidden":
        problem = "is not a setting that is known"
    elif name == "tenant.id":
        problem = "must be the tenant's GUID (Entra admin centre → Overview → Tenant ID)"
    if item["type"] == "missing" and len(location) == 1:
        needed = [v for v, path in _VARIABLES.items() if path[0] == location[0]]
        return f"{name}: is missing (a section, or variables such as {', '.join(needed[:3])})"
    place = ""
    if source is not None and item["type"] != "missing":
        place = f"{source.file}:{source.line(location)}: "
    return f"{place}{name}: {problem}" + (f" ({variable})" if variable else "")

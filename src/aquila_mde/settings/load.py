"""Settings from a file and the environment, and what is wrong in them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, ValidationError
from pydantic_settings import SettingsConfigDict

from aquila_mde.errors import ConfigurationError
from aquila_mde.settings.parts import (
    ElasticsearchSettings,
    KibanaSettings,
    MonitoringSettings,
    UnfinishedTenant,
)
from aquila_mde.settings.tenants import DEFAULT_STATE, State
from aquila_mde.settings.whole import (
    AllSettings,
    Layered,
    OnboardingSettings,
    OneTenant,
    SeveralTenants,
)
from aquila_mde.streams.faults import FaultsFoundError
from aquila_mde.streams.yaml_source import YamlSource, dotted, read_yaml

VARIABLES = {
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

_LISTED_ID = re.compile(r"^tenants\[\d+\]\.id$")

_Model = TypeVar("_Model", bound=Layered)


class _EngineOnly(Layered):
    """Settings of which only the engine's part is read."""

    model_config = SettingsConfigDict(extra="ignore")

    elasticsearch: ElasticsearchSettings


class _ListedPlace(UnfinishedTenant):
    """What names the indices of one of several tenants."""

    model_config = ConfigDict(extra="ignore")

    state: State | None = None


class _PlaceOnly(Layered):
    """Settings of which only what names the collector's indices is read."""

    model_config = SettingsConfigDict(extra="ignore")

    tenant: UnfinishedTenant = UnfinishedTenant()
    tenants: tuple[_ListedPlace, ...] = ()
    state: State = DEFAULT_STATE


class _MaybeEngine(Layered):
    """Settings of which only the engine's part is read, and that need not have one."""

    model_config = SettingsConfigDict(extra="ignore")

    elasticsearch: ElasticsearchSettings | None = None


class _MonitoringOnly(Layered):
    """Settings of which only the port is read on which a collector shows how it is."""

    model_config = SettingsConfigDict(extra="ignore")

    monitoring: MonitoringSettings = MonitoringSettings()


class _KibanaOnly(Layered):
    """Settings of which only Kibana's part is read."""

    model_config = SettingsConfigDict(extra="ignore")

    kibana: KibanaSettings | None = None


def load_settings(file: Path | None, environment: Mapping[str, str] | None = None) -> AllSettings:
    """The settings of every tenant of ``file`` (may be none) and the environment.

    Raises :class:`ConfigurationError` that names every setting that is missing or wrong, by file
    and line where it came from a file, and never shows a value that may be a secret.
    """
    given = _Given.read(file, environment)
    model = SeveralTenants if "tenants" in given.values else OneTenant
    with given.explained():
        return AllSettings(model(**given.with_variables(("tenant", "elasticsearch"))).each())


def load_onboarding_settings(
    file: Path | None, environment: Mapping[str, str] | None = None
) -> OnboardingSettings:
    """What is known of a tenant before the application is registered; an absent file is empty."""
    there = file if file is not None and file.exists() else None
    if "tenants" in _Given.read(there, environment).values:
        raise ConfigurationError(
            f"{there} has a list of tenants, and onboarding writes the settings of a single one.",
            hint="Onboard each tenant with a file of its own (--config contoso.yml), and put what "
            "it writes under tenant into the list.",
        )
    return _load(OnboardingSettings, there, environment, ("tenant",))


def load_engine_settings(
    file: Path | None, environment: Mapping[str, str] | None = None
) -> ElasticsearchSettings:
    """Where the engine is; who installs assets there needs no credential of a tenant."""
    return _load(_EngineOnly, file, environment).elasticsearch


def load_monitoring_settings(
    file: Path | None, environment: Mapping[str, str] | None = None
) -> MonitoringSettings:
    """Where a running collector shows how it is; who asks there needs no credential at all."""
    return _load(_MonitoringOnly, file, environment, ()).monitoring


def load_places(file: Path | None, environment: Mapping[str, str] | None = None) -> dict[str, bool]:
    """The namespaces that are collected into, and whether the state of each lies in the engine."""
    found = _load(_PlaceOnly, file, environment, ("tenant",))
    if not found.tenants:
        return {found.tenant.namespace: found.state == "elasticsearch"}
    return {
        each.namespace: (each.state or found.state) == "elasticsearch" for each in found.tenants
    }


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
    sections: tuple[str, ...] = ("elasticsearch",),
    *,
    kibana: dict[str, str] | None = None,
    engine: dict[str, str] | None = None,
) -> _Model:
    given = _Given.read(file, environment)
    with given.explained():
        merged = given.with_variables(sections)
        if engine is not None:
            merged = _for_engine(merged, engine)
        return model(**(merged if kibana is None else _for_kibana(merged, kibana)))


@dataclass(frozen=True)
class _Given:
    """What the file says, and the variables beside it."""

    source: YamlSource | None
    values: dict[str, Any]
    environment: Mapping[str, str]

    @classmethod
    def read(cls, file: Path | None, environment: Mapping[str, str] | None) -> _Given:
        """Raises :class:`ConfigurationError` where ``file`` is no settings file."""
        environment = os.environ if environment is None else environment
        if file is None:
            return cls(None, {}, environment)
        source, faults = read_yaml(file)
        if faults or source is None:
            raise FaultsFoundError(faults)
        values = {} if source.values is None else source.values
        if not isinstance(values, dict):
            raise ConfigurationError(f"{file} must hold a mapping of settings")
        return cls(source, values, environment)

    def with_variables(self, sections: tuple[str, ...]) -> dict[str, Any]:
        """The values of the file, and over them those of variables for ``sections``."""
        if "tenants" in self.values and "tenant" in sections:
            self._refuse_one_tenant()
        merged = {
            key: dict(value) if isinstance(value, dict) else value
            for key, value in self.values.items()
        }
        for variable, (section, key) in VARIABLES.items():
            if section in sections and self.environment.get(variable):
                part = merged.setdefault(section, {})
                if isinstance(part, dict):
                    part[key] = self.environment[variable]
        return merged

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Make one error of all that a model finds wrong."""
        try:
            yield
        except ValidationError as error:
            lines = [_explain(item, self.source) for item in error.errors(include_url=False)]
            raise ConfigurationError(
                "The settings are not complete:\n" + "\n".join(f"  {line}" for line in lines),
                hint="Set them in the settings file (--config) or by the environment variable "
                "named.",
            ) from None

    def _refuse_one_tenant(self) -> None:
        """Whom a section or a variable for one tenant is about cannot be told beside a list."""
        file = self.source.file if self.source else "The file"
        if "tenant" in self.values:
            raise ConfigurationError(
                f"{file} has both tenant and tenants.",
                hint="Put the one tenant into the list, too.",
            )
        of_one = {name for name, (section, _) in VARIABLES.items() if section == "tenant"}
        told = sorted(
            name
            for name, value in self.environment.items()
            if value and (name in of_one or name.upper().startswith("AQUILA_TENANT__"))
        )
        if told:
            raise ConfigurationError(
                f"{', '.join(told)} is about one tenant, and {file} has a list of them.",
                hint="Unset it, and say it in the list for the tenant that is meant; a secret by "
                "client_secret_file.",
            )


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
    variable = next((v for v, path in VARIABLES.items() if path == location[:2]), None)
    if variable is None and len(location) == 1 and location[0] in ("state", "log_level"):
        variable = f"AQUILA_{str(location[0]).upper()}"
    problem = str(item["msg"]).removeprefix("Value error, ")
    problem = problem[:1].lower() + problem[1:]
    if item["type"] == "missing":
        problem = "is missing"
    elif item["type"] == "extra_forbidden":
        problem = "is not a setting that is known"
    elif item["type"].startswith("string") and (name == "tenant.id" or _LISTED_ID.match(name)):
        problem = "must be the tenant's GUID (Entra admin centre → Overview → Tenant ID)"
    if item["type"] == "missing" and len(location) == 1:
        needed = [v for v, path in VARIABLES.items() if path[0] == location[0]]
        return f"{name}: is missing (a section, or variables such as {', '.join(needed[:3])})"
    place = ""
    if source is not None and item["type"] != "missing":
        place = f"{source.file}:{source.line(location)}: "
    return f"{place}{name}: {problem}" + (f" ({variable})" if variable else "")

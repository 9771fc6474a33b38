"""All settings together, and the environment that has the last word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, Field
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from aquila_mde.errors import ConfigurationError
from aquila_mde.settings.parts import (
    ElasticsearchSettings,
    HuntingSettings,
    KibanaSettings,
    MonitoringSettings,
    Part,
    StreamSettings,
    TenantSettings,
    UnfinishedTenant,
)
from aquila_mde.settings.tenants import (
    DEFAULT_STATE,
    ListedTenant,
    Place,
    State,
    refuse_what_they_share,
)
from aquila_mde.streams.stream import Stream

LogLevel = Literal["debug", "info", "warning", "error"]


class Layered(BaseSettings):
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


class _BesideTheTenant(BaseModel):
    """What is said for a tenant, or for all of them."""

    elasticsearch: ElasticsearchSettings
    kibana: KibanaSettings | None = None
    state: State = DEFAULT_STATE
    """What remembers what was delivered: a file, which moves with the collector, or the engine."""
    streams: dict[str, StreamSettings] = Field(default_factory=dict)
    hunting: HuntingSettings = HuntingSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    log_level: LogLevel = "info"


class Settings(_BesideTheTenant, Part):
    """Everything that the collection of one tenant is told."""

    tenant: TenantSettings

    def stream(self, name: str) -> StreamSettings:
        """The settings of the stream ``name``, with defaults where nothing was set."""
        return self.streams.get(name, StreamSettings())


class _Shared(_BesideTheTenant, Layered):
    """What a settings file says beside its tenants."""


class OneTenant(_Shared):
    """A settings file with a section ``tenant``; the environment alone is one, too."""

    tenant: TenantSettings

    def each(self) -> tuple[Settings, ...]:
        """The settings of its tenant."""
        return (_settings(self, self.tenant, self.state, self.streams, self.hunting),)


class SeveralTenants(_Shared):
    """A settings file with a list ``tenants``."""

    tenants: tuple[ListedTenant, ...] = Field(min_length=1)

    def each(self) -> tuple[Settings, ...]:
        """The settings of each tenant: its own, and what is said for all of them.

        Raises :class:`pydantic.ValidationError` where two tenants would get into each other's way.
        """
        refuse_what_they_share(self.tenants, self.state)
        return tuple(
            _settings(
                self,
                each.alone(),
                each.state_beside(self.state),
                each.streams_over(self.streams),
                each.hunting_over(self.hunting),
            )
            for each in self.tenants
        )


@dataclass(frozen=True)
class AllSettings:
    """The settings of every tenant of one process."""

    each: tuple[Settings, ...]
    """One for each tenant, in the order of the file; what is shared is the same in all."""

    @property
    def shared(self) -> Settings:
        """The settings of any tenant, for what is the same in all of them."""
        return self.each[0]

    def chosen(self, wanted: Sequence[str]) -> AllSettings:
        """Those of the tenants ``wanted``, by name or id; of all where none is wanted.

        Raises :class:`ConfigurationError` for one that there is not.
        """
        if not wanted:
            return self
        found = [self._called(name) for name in wanted]
        return AllSettings(tuple(each for each in self.each if each in found))

    def only(self) -> Settings:
        """Those of the one tenant. Raises :class:`ConfigurationError` when there are several."""
        if len(self.each) > 1:
            raise ConfigurationError(
                f"There are {len(self.each)} tenants, and this is done for one of them.",
                hint=f"Name it with --tenant. The tenants are: {self._names()}.",
            )
        return self.each[0]

    def _called(self, name: str) -> Settings:
        for each in self.each:
            if name.lower() in (each.tenant.id.lower(), (each.tenant.name or "").lower()):
                return each
        raise ConfigurationError(
            f"There is no tenant {name!r} in the settings.",
            hint=f"The tenants are: {self._names()}.",
        )

    def _names(self) -> str:
        return ", ".join(each.tenant.label for each in self.each)


def _settings(
    shared: _Shared,
    tenant: TenantSettings,
    state: Place,
    streams: dict[str, StreamSettings],
    hunting: HuntingSettings,
) -> Settings:
    return Settings(
        tenant=tenant,
        elasticsearch=shared.elasticsearch,
        kibana=shared.kibana,
        state=state,
        streams=streams,
        hunting=hunting,
        monitoring=shared.monitoring,
        log_level=shared.log_level,
    )


class OnboardingSettings(Layered):
    """What is known before the application is registered."""

    model_config = SettingsConfigDict(extra="ignore")

    tenant: UnfinishedTenant = UnfinishedTenant()
    streams: dict[str, StreamSettings] = {}
    hunting: HuntingSettings = HuntingSettings()


def interval_of(stream: Stream, streams: Mapping[str, StreamSettings]) -> timedelta:
    """The time between two passes of ``stream``: the settings have the say."""
    return streams.get(stream.name, StreamSettings()).interval or stream.collect.interval


def is_enabled(stream: Stream, streams: Mapping[str, StreamSettings]) -> bool:
    """Whether ``stream`` is collected: the settings have the say, then the stream itself."""
    said = streams.get(stream.name, StreamSettings()).enabled
    return stream.collect.enabled if said is None else said

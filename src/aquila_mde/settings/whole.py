"""All settings together, and the environment that has the last word."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from aquila_mde.settings.parts import (
    ElasticsearchSettings,
    HuntingSettings,
    KibanaSettings,
    MonitoringSettings,
    StreamSettings,
    TenantSettings,
    UnfinishedTenant,
)
from aquila_mde.streams.stream import Stream


def _place(value: object) -> object:
    if not isinstance(value, str | Path) or not Path(value).name:
        raise ValueError("must be the path of a file, or elasticsearch")
    return value


State = Annotated[Literal["elasticsearch"] | Path, BeforeValidator(_place)]


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


class Settings(Layered):
    """Everything that one run of the collector is told."""

    tenant: TenantSettings
    elasticsearch: ElasticsearchSettings
    kibana: KibanaSettings | None = None
    state: State = Path("aquila-state.sqlite3")
    """What remembers what was delivered: a file, which moves with the collector, or the engine."""
    streams: dict[str, StreamSettings] = {}
    hunting: HuntingSettings = HuntingSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def stream(self, name: str) -> StreamSettings:
        """The settings of the stream ``name``, with defaults where nothing was set."""
        return self.streams.get(name, StreamSettings())


class OnboardingSettings(Layered):
    """What is known before the application is registered."""

    model_config = SettingsConfigDict(extra="ignore")

    tenant: UnfinishedTenant = UnfinishedTenant()
    streams: dict[str, StreamSettings] = {}
    hunting: HuntingSettings = HuntingSettings()


def is_enabled(stream: Stream, streams: Mapping[str, StreamSettings]) -> bool:
    """Whether ``stream`` is collected: the settings have the say, then the stream itself."""
    said = streams.get(stream.name, StreamSettings()).enabled
    return stream.collect.enabled if said is None else said

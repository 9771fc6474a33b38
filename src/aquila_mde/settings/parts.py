"""The parts of a settings file: a tenant, an engine, Kibana, streams, hunting, monitoring."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)

from aquila_mde.streams.collect_spec import Duration

CloudName = Literal["commercial", "gcc", "gcc_high", "dod"]
_HTTPS = r"^https://[^/\s]+(/\S*)?$"
CREDENTIALS = ("client_secret", "client_secret_file", "client_secret_keyring", "certificate")
"""The settings of a tenant of which one, and only one, says what the application signs in with."""
_CREDENTIALS_TEXT = f"{', '.join(CREDENTIALS[:-1])} or {CREDENTIALS[-1]}"


class Part(BaseModel):
    """A frozen part of the settings; an unknown key is an error that shows no value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class UnfinishedTenant(Part):
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
    _instead: ClassVar[str] = " (AQUILA_CLIENT_SECRET)"

    @model_validator(mode="after")
    def _some_credential(self) -> Self:
        if all(getattr(self, name) is None for name in CREDENTIALS):
            named = _CREDENTIALS_TEXT.replace("t,", f"t{self._instead},", 1)
            raise ValueError(f"needs a credential: {named}")
        return self

    @property
    def label(self) -> str:
        """What people call it: its name or, without one, its id."""
        return self.name or self.id

    @property
    def organization(self) -> dict[str, str]:
        """The ``organization`` of its documents."""
        return {"id": self.id} | ({"name": self.name} if self.name else {})


class ElasticsearchSettings(Part):
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


class KibanaSettings(Part):
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


class StreamSettings(Part):
    """What a user may change about one stream."""

    enabled: bool | None = None
    """None: as the stream itself says, which is on for all but hunting."""
    interval: Duration | None = None
    look_back: Duration | None = None


class HuntingSettings(Part):
    """Which hunting queries are run, and where. The stream hunting turns them on."""

    api: Literal["defender", "graph"] = "defender"
    """Microsoft Graph has more tables (mail, identities) and needs another permission."""
    queries: tuple[str, ...] | None = None
    """The names of the queries that are run; none: all that the API has tables for."""
    folder: Path | None = None
    """A folder with queries of one's own, beside those of the package."""
    row_limit: int | None = Field(default=None, ge=100, le=100_000)
    """Rows after which the tenant cuts an answer, where that is not the documented number."""


class MonitoringSettings(Part):
    """Where a running collector shows how it is: ``/metrics``, ``/healthz`` and ``/readyz``."""

    port: int | None = Field(default=None, ge=1, le=65_535)
    """None: nowhere."""
    address: str = Field(default="127.0.0.1", min_length=1)

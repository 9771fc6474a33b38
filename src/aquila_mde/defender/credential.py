"""By what an Entra application proves who it is: a secret, or a certificate in a PEM file."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pydantic import SecretStr

from aquila_mde.defender.keyring import SERVICE, read_secret
from aquila_mde.errors import ConfigurationError
from aquila_mde.settings import TenantSettings


@dataclass(frozen=True)
class Credential:
    """Who signs in, and by what: exactly one of ``secret`` and ``certificate``."""

    tenant_id: str
    client_id: str
    secret: SecretStr | None = None
    certificate: Path | None = None
    """A PEM file with the private key and the certificate, in either order."""
    origin: TenantSettings | None = field(default=None, repr=False, compare=False)
    """The settings that it was read by."""

    @classmethod
    def from_settings(cls, tenant: TenantSettings) -> Credential:
        """The credential of the settings; a secret in a file or the keyring is read from there.

        Raises :class:`ConfigurationError` when it cannot be read or is empty.
        """
        secret = tenant.client_secret
        if tenant.client_secret_file is not None:
            secret = SecretStr(_read(tenant.client_secret_file, "client_secret_file").strip())
        if tenant.client_secret_keyring is not None:
            secret = read_secret(tenant.client_secret_keyring)
            if secret is None:
                raise ConfigurationError(
                    f"The keyring of this system has no entry {tenant.client_secret_keyring!r} "
                    f"for {SERVICE}.",
                    hint="Keyrings belong to a user: was it written by another one? "
                    "aquila-mde onboard makes a new secret.",
                )
        if secret is not None and not secret.get_secret_value():
            raise ConfigurationError(
                "The client secret is empty.",
                hint="Set client_secret (AQUILA_CLIENT_SECRET) to the secret's value.",
            )
        return cls(tenant.id, tenant.client_id, secret, tenant.certificate, tenant)

    def renewed(self) -> Credential:
        """The same read again: a rotation may have put another secret where this one was.

        What cannot be read any more stays as it was.
        """
        if self.origin is None or self.origin.client_secret is not None:
            return self
        try:
            return Credential.from_settings(self.origin)
        except ConfigurationError:
            return self

    def expires(self) -> datetime | None:
        """When the certificate expires; of a secret that is not known here.

        Raises :class:`ConfigurationError` when the certificate cannot be read.
        """
        if self.certificate is None:
            return None
        from aquila_mde.defender.certificate import expires  # noqa: PLC0415 - see there

        return expires(self.certificate, _read(self.certificate, "certificate").encode())

    def for_msal(self) -> str | dict[str, str]:
        """The ``client_credential`` that msal takes."""
        if self.secret is not None:
            return self.secret.get_secret_value()
        if self.certificate is None:
            raise ConfigurationError("The credential has neither a secret nor a certificate.")
        from aquila_mde.defender.certificate import client_credential  # noqa: PLC0415 - see there

        return client_credential(self.certificate, _read(self.certificate, "certificate").encode())


def _read(file: Path, setting: str) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
        raise ConfigurationError(
            f"The file of {setting}, {file}, cannot be read: {reason}"
        ) from None

"""Secrets in the keyring of the system, under one name for this program.

The package ``keyring`` is installed on request (``aquila-mde[keyring]``), so it is imported where
it is needed.
"""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from aquila_mde.errors import ConfigurationError, ExitCode

SERVICE = "aquila-mde"
"""Under which name the entries stand in the keyring."""


class KeyringError(ConfigurationError):
    """The keyring of this system cannot be used."""

    exit_code = ExitCode.ENVIRONMENT


def read_secret(entry: str) -> SecretStr | None:
    """The secret under ``entry``, if there is one. Raises :class:`KeyringError`."""
    text = _ask("get_password", entry)
    return SecretStr(text) if text is not None else None


def write_secret(entry: str, secret: SecretStr | None) -> None:
    """Keep ``secret`` under ``entry``; None removes the entry. Raises :class:`KeyringError`."""
    if secret is not None:
        _ask("set_password", entry, secret.get_secret_value())
    elif read_secret(entry) is not None:
        _ask("delete_password", entry)


def _ask(method: str, *arguments: str) -> Any:
    try:
        import keyring  # noqa: PLC0415 - an optional package
    except ModuleNotFoundError:
        raise KeyringError(
            "The secret lies in the keyring, and the package 'keyring' is not installed.",
            hint="Install it with: pip install 'aquila-mde[keyring]'",
        ) from None
    try:
        return getattr(keyring, method)(SERVICE, *arguments)
    # Each kind of keyring raises what its own library does.
    except Exception as error:
        raise KeyringError(
            f"The keyring of this system cannot be used: {type(error).__name__}",
            hint="It needs a running and unlocked key store of the user, which a server often "
            "lacks: keep the secret in a file instead (aquila-mde onboard --credential file).",
        ) from None

"""What an application signs in with, as text: a secret, or a PEM file with key and certificate."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from aquila_mde.errors import ConfigurationError

KEY_BITS = 3072
_SKEW = timedelta(minutes=5)
_HINT = 3
"""So many characters of a secret are told by Graph."""


@dataclass(frozen=True)
class Registered:
    """A secret or certificate that the application has, as Graph tells it."""

    key_id: str
    is_certificate: bool
    name: str
    expires: datetime
    hint: str = ""
    """The beginning of a secret."""
    der: bytes | None = None
    thumbprint: str = ""

    @classmethod
    def secret(cls, told: dict[str, Any]) -> Registered:
        """One of ``passwordCredentials``."""
        return cls(
            told["keyId"],
            False,
            told.get("displayName") or "",
            parse(told["endDateTime"]),
            hint=told.get("hint") or "",
        )

    @classmethod
    def certificate(cls, told: dict[str, Any]) -> Registered:
        """One of ``keyCredentials``."""
        key = told.get("key")
        return cls(
            told["keyId"],
            True,
            told.get("displayName") or "",
            parse(told["endDateTime"]),
            der=base64.b64decode(key) if key else None,
            thumbprint=told.get("customKeyIdentifier") or "",
        )

    def text(self) -> str:
        """How it is spoken of."""
        kind = "certificate" if self.is_certificate else "secret"
        return f"{kind} {self.key_id} (valid until {self.expires:%Y-%m-%d})"


@dataclass(frozen=True)
class Material:
    """A secret or a certificate with its key. Its text is shown by nothing."""

    text: SecretStr
    is_certificate: bool

    @classmethod
    def secret(cls, text: str) -> Material:
        """A client secret."""
        return cls(SecretStr(text.strip()), False)

    @classmethod
    def pem(cls, text: str, where: str) -> Material:
        """Key and certificate. Raises :class:`ConfigurationError` when one of them is missing."""
        material = cls(SecretStr(text), True)
        try:
            if "PRIVATE KEY-----" not in text:
                # A file of somebody else, which must not be taken for ours and replaced.
                raise ValueError
            _ = material.certificate
        except ValueError:
            raise ConfigurationError(
                f"There is no private key with its certificate in {where}.",
                hint="Move the file away: aquila-mde onboard then makes a new one.",
            ) from None
        return material

    @cached_property
    def certificate(self) -> x509.Certificate:
        """The public half."""
        return x509.load_pem_x509_certificate(self.text.get_secret_value().encode())

    @property
    def expires(self) -> datetime | None:
        """When a certificate is over; a secret does not say it."""
        return self.certificate.not_valid_after_utc if self.is_certificate else None

    def among(self, registered: tuple[Registered, ...]) -> Registered | None:
        """What the application has of it. Raises where two secrets begin alike."""
        found = [each for each in registered if self._is(each)]
        if len(found) > 1:
            raise ConfigurationError(
                f"Which of the secrets {', '.join(each.key_id for each in found)} is ours cannot "
                "be told: they begin alike.",
                hint="Remove those that nobody uses (Entra admin centre → App registrations → the "
                "application → Certificates & secrets).",
            )
        return found[0] if found else None

    def _is(self, other: Registered) -> bool:
        if self.is_certificate != other.is_certificate:
            return False
        if not self.is_certificate:
            return bool(other.hint) and other.hint == self.text.get_secret_value()[:_HINT]
        if other.der is not None:
            return other.der == self.certificate.public_bytes(Encoding.DER)
        digest = self.certificate.fingerprint(hashes.SHA1())  # noqa: S303 - Entra's name for it
        return other.thumbprint in (digest.hex().upper(), base64.b64encode(digest).decode())


def new_certificate(name: str, valid_for: timedelta) -> Material:
    """A new key and a certificate for it, signed by itself: Entra trusts what is uploaded."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + valid_for)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Material(SecretStr((private + certificate.public_bytes(Encoding.PEM)).decode()), True)


def parse(time: str) -> datetime:
    """A time of Graph, which has up to seven fractional digits."""
    return datetime.fromisoformat(time[:19]).replace(tzinfo=UTC)

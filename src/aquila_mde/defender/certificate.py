"""A certificate with its private key in a PEM file, as msal wants them.

Apart from what reads secrets: a collector that has a secret does without the megabytes of
cryptography.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from aquila_mde.errors import ConfigurationError

_PEM_HINT = (
    "The file must be PEM and hold the unencrypted RSA private key and the certificate that was "
    "uploaded to the application, for example made by: openssl req -x509 -newkey rsa:3072 -nodes "
    "-days 365 -subj /CN=aquila-mde -keyout key.pem -out certificate.pem; "
    "cat key.pem certificate.pem > aquila-mde.pem"
)


def expires(file: Path, pem: bytes) -> datetime:
    """When the certificate in ``file`` expires; raises what :func:`client_credential` does."""
    public = client_credential(file, pem)["public_certificate"]
    return x509.load_pem_x509_certificate(public.encode()).not_valid_after_utc


def client_credential(file: Path, pem: bytes) -> dict[str, str]:
    """Key and certificate for msal, which signs with PS256 and names the SHA-256 thumbprint.

    ``pem`` is what ``file`` holds. Raises :class:`ConfigurationError` when they are not in it.
    """
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise ConfigurationError(
            f"The private key in {file} is encrypted.", hint=_PEM_HINT
        ) from None
    except ValueError:
        raise ConfigurationError(f"There is no private key in {file}.", hint=_PEM_HINT) from None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError(f"The private key in {file} is not an RSA key.", hint=_PEM_HINT)
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ConfigurationError(f"There is no certificate in {file}.", hint=_PEM_HINT) from None
    public_key = key.public_key()
    for certificate in certificates:
        if certificate.public_key() == public_key:
            return {
                "private_key": key.private_bytes(
                    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
                ).decode(),
                "public_certificate": certificate.public_bytes(Encoding.PEM).decode(),
            }
    raise ConfigurationError(
        f"No certificate in {file} belongs to the private key in it.", hint=_PEM_HINT
    )

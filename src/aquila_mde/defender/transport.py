"""TLS, and what to say when a host cannot be reached."""

from __future__ import annotations

import logging
import socket
import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from aquila_mde import __version__
from aquila_mde.defender.errors import DefenderUnavailableError
from aquila_mde.errors import ConfigurationError, causes_of, without_secrets

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 120.0
HEADERS = {"User-Agent": f"aquila-mde/{__version__}"}


def timeouts(read: float = _READ_SECONDS) -> httpx.Timeout:
    """Connecting is quick or broken; a page of 10,000 records may take a minute to come."""
    return httpx.Timeout(read, connect=_CONNECT_SECONDS)


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Trusts the system's certificates, Mozilla's list and those in ``ca_file``.

    Mozilla's list (certifi) is for containers that have no certificates of their own. It is a
    megabyte, so all that trust the same have the same one. Raises :class:`ConfigurationError` when
    ``ca_file`` cannot be used.
    """
    try:
        found = None if ca_file is None else ca_file.stat()
    except OSError:
        found = None
    return _context(ca_file, found and (found.st_mtime_ns, found.st_size))


@lru_cache(maxsize=64)
def _context(ca_file: Path | None, _version: tuple[int, int] | None) -> ssl.SSLContext:
    context = httpx.create_ssl_context()
    context.load_default_certs()
    context.sslobject_class = _WholeReads
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise ConfigurationError(
                f"The certificates in {ca_file} cannot be read: {reason or error}",
                hint="ca_file (AQUILA_CA_FILE) must be a PEM file with one or more certificates.",
            ) from None
    return context


class _WholeReads(ssl.SSLObject):
    """Reads what has come, where OpenSSL gives one record of at most 16 kB at a time.

    What lies above it takes far longer for each read than it takes to decrypt a record.
    """

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002 - what ssl calls it
        """Up to ``len`` bytes, fewer only if no more have come."""
        found = super().read(len, buffer)
        if buffer is not None:
            return found
        pieces, left = [found], len - found.__len__()
        while left and pieces[-1]:
            try:
                pieces.append(super().read(left))
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                break
            left -= pieces[-1].__len__()
        return b"".join(pieces)


def unreachable(error: Exception, host: str) -> DefenderUnavailableError:
    """The error that tells what kept us from talking to ``host``.

    The text of ``error`` is used only where it is known to hold no URL: links carry signatures.
    """
    hint = f"Check that this machine reaches {host} (firewall, proxy: HTTPS_PROXY)."
    # In any other error, causes of these types are leftovers of how sockets are read.
    for cause in causes_of(error) if isinstance(error, httpx.ConnectError) else ():
        if isinstance(cause, ssl.SSLCertVerificationError):
            return DefenderUnavailableError(
                f"The certificate of {host} is not trusted: {cause.verify_message}",
                hint=(
                    "If a proxy inspects TLS here, put its certificate into a PEM file and name it "
                    "in ca_file (AQUILA_CA_FILE). If not, somebody stands in between."
                ),
            )
        if isinstance(cause, ssl.SSLError):
            return DefenderUnavailableError(
                f"{host} does not speak TLS as expected: {_reason(cause)}",
                hint="Check the URL and the proxy in between.",
            )
        if isinstance(cause, socket.gaierror):
            return DefenderUnavailableError(
                f"The name {host} cannot be resolved: {cause.strerror}",
                hint="Check the spelling of the host and the DNS of this machine.",
            )
    if isinstance(error, httpx.ConnectTimeout):
        text = f"No connection to {host} within {_CONNECT_SECONDS:.0f} s"
    elif isinstance(error, httpx.ProxyError):
        text = f"The proxy does not lead to {host}: {without_secrets(str(error))}"
    elif isinstance(error, httpx.ConnectError):
        text = f"{host} refuses the connection"
    elif isinstance(error, (httpx.TimeoutException, TimeoutError)):
        text = f"{host} did not answer in time"
    else:
        text = f"The connection to {host} broke off"
    return DefenderUnavailableError(text, hint=hint)


def host_of(url: str) -> str:
    """Host and port of ``url``, or what to call them where it is none."""
    try:
        return urlsplit(url).netloc or "no host"
    except ValueError:
        return "no host"


def _reason(error: ssl.SSLError) -> str:
    # Only errors that OpenSSL itself has raised have one.
    return getattr(error, "reason", None) or "handshake failed"


def _blank_out(record: logging.LogRecord) -> bool:
    record.msg, record.args = without_secrets(record.getMessage()), ()
    return True


# httpx logs every URL at level INFO, and the links to export files are keys.
logging.getLogger("httpx").addFilter(_blank_out)

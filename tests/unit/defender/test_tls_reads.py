"""How much one read of a TLS connection gives."""

import ssl
from pathlib import Path

import pytest
import trustme

from aquila_mde.defender.transport import tls_context

CONTENT = bytes(range(256)) * 200
"""Some records of TLS, which hold at most 16 kB each."""


@pytest.fixture
def connection(tmp_path: Path) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_context)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls_context(tmp_path / "ca.pem").wrap_bio(
        to_client, to_server, server_hostname="localhost"
    )
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client, server]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)
    return client, server


def test_one_read_gives_all_records_that_have_come(
    connection: tuple[ssl.SSLObject, ssl.SSLObject],
) -> None:
    client, server = connection
    with pytest.raises(ssl.SSLWantReadError):
        client.read(10)
    server.write(CONTENT)
    assert client.read(1 << 20) == CONTENT
    with pytest.raises(ssl.SSLWantReadError):
        client.read(10)


def test_no_more_is_read_than_was_asked_for(
    connection: tuple[ssl.SSLObject, ssl.SSLObject],
) -> None:
    client, server = connection
    server.write(CONTENT)
    assert client.read(20_000) == CONTENT[:20_000]
    buffer = bytearray(100)
    assert client.read(100, buffer) == 100
    assert bytes(buffer) == CONTENT[20_000:20_100]
    assert client.read(1 << 20) == CONTENT[20_100:]

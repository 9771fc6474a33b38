"""A credential that is replaced where it lies is taken by whoever needs the next token."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from tests.unit.defender.scripted_microsoft import CLIENT, SECRET, TENANT, Microsoft, aadsts

from aquila_mde.defender.auth import Credential, TokenSource
from aquila_mde.defender.errors import SignInError
from aquila_mde.onboard.material import new_certificate
from aquila_mde.settings import TenantSettings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "secret"
    file.write_text(SECRET)
    return file


@pytest.fixture
def source(microsoft: Microsoft, file: Path) -> TokenSource:
    tenant = TenantSettings(id=TENANT, client_id=CLIENT, client_secret_file=file)
    credential = Credential.from_settings(tenant)
    return TokenSource(credential, microsoft.cloud, ca_file=microsoft.ca_file)


def secrets(microsoft: Microsoft) -> list[str]:
    return [call["client_secret"] for call in microsoft.token_calls]


async def test_the_next_token_is_asked_for_with_what_lies_there_then(
    microsoft: Microsoft, file: Path, source: TokenSource
) -> None:
    source.invalidate(await source.token())
    file.write_text("another~secret")
    with pytest.raises(SignInError):
        await source.token()
    file.write_text(SECRET)
    await source.token()
    assert secrets(microsoft) == [SECRET, "another~secret", SECRET]


async def test_who_is_refused_looks_once_more(
    microsoft: Microsoft, file: Path, source: TokenSource
) -> None:
    file.write_text("the~old.secret")

    def rotated_meanwhile(_: Request) -> Response:
        file.write_text(SECRET)
        microsoft.sign_in = None
        return aadsts(7000215, "Invalid client secret provided.")

    microsoft.sign_in = rotated_meanwhile
    assert (await source.token()).roles == {"Alert.Read.All"}
    assert secrets(microsoft) == ["the~old.secret", SECRET]


@pytest.mark.parametrize("left", [None, ""])
async def test_what_cannot_be_read_any_more_stays_in_use(
    microsoft: Microsoft, file: Path, source: TokenSource, left: str | None
) -> None:
    file.unlink() if left is None else file.write_text(left)
    assert (await source.token()).roles == {"Alert.Read.All"}


async def test_a_certificate_that_is_gone_stays_in_use(
    microsoft: Microsoft, tmp_path: Path
) -> None:
    made, pem = new_certificate("x", timedelta(days=1)), tmp_path / "aquila.pem"
    pem.write_text(made.text.get_secret_value())
    microsoft.certificates = [made.certificate]
    credential = Credential(TENANT, CLIENT, certificate=pem)
    source = TokenSource(credential, microsoft.cloud, ca_file=microsoft.ca_file)
    pem.unlink()
    assert (await source.token()).roles == {"Alert.Read.All"}

"""Where credentials lie, and what becomes of a place that cannot be used."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import keyring
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import SecretStr
from tests.plugins.file_keyring import FileKeyring

from aquila_mde.defender.credential import Credential
from aquila_mde.defender.keyring import KeyringError, read_secret, write_secret
from aquila_mde.errors import ConfigurationError, ExitCode
from aquila_mde.onboard.keeping import (
    FileKeeper,
    KeyringKeeper,
    Kind,
    Slot,
    StoreError,
    check_writable,
    keeper_of,
    new_keeper,
)
from aquila_mde.onboard.material import Material, new_certificate
from aquila_mde.settings import TenantSettings, UnfinishedTenant

TENANT = "12345678-1234-1234-1234-123456789012"


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileKeyring:
    monkeypatch.setenv("TEST_KEYRING_FILE", str(tmp_path / "keyring.json"))
    before, ours = keyring.get_keyring(), FileKeyring()
    monkeypatch.setattr(keyring.core, "_keyring_backend", ours)
    assert before is not ours
    return ours


@pytest.mark.parametrize("kind", [Kind.FILE, Kind.KEYRING, Kind.ENVIRONMENT])
def test_a_new_secret_takes_the_place_of_the_old_one(
    kind: Kind, tmp_path: Path, ring: FileKeyring
) -> None:
    keeper = new_keeper(kind, tmp_path / "aquila.yml", UnfinishedTenant())
    for text in ("first~1", "second~2"):
        keeper.write(Slot.NEXT, Material.secret(text))
        keeper.promote()
    assert keeper.read() == Material.secret("second~2")
    assert keeper.read(Slot.PREVIOUS) == Material.secret("first~1")
    assert keeper.read(Slot.NEXT) is None
    keeper.write(Slot.PREVIOUS, None)
    assert keeper.read(Slot.PREVIOUS) is None
    assert "~" not in repr(keeper.read()) + repr(keeper.__dict__)


def test_only_the_owner_reads_a_file(tmp_path: Path) -> None:
    keeper = FileKeeper(tmp_path / "aquila.pem", Kind.CERTIFICATE)
    keeper.file.write_text("what was there before")
    keeper.file.chmod(0o644)
    made = new_certificate("Aquila", timedelta(days=5))
    keeper.write(Slot.CURRENT, made)
    assert keeper.file.stat().st_mode & 0o777 == 0o600
    assert keeper.read() == made
    held = Credential(TENANT, "client", certificate=keeper.file).for_msal()
    assert isinstance(held, dict)
    assert made.certificate.public_key().key_size == 3072  # type: ignore[union-attr]


def test_a_place_is_found_again_by_the_settings(tmp_path: Path, ring: FileKeyring) -> None:
    for kind in (Kind.CERTIFICATE, Kind.FILE, Kind.KEYRING):
        keeper = new_keeper(kind, tmp_path / "aquila.yml", UnfinishedTenant())
        assert keeper.setting is not None
        again = keeper_of(UnfinishedTenant(**dict([keeper.setting])))
        assert again is not None
        assert (again.kind, again.where) == (kind, keeper.where)
    assert keeper_of(UnfinishedTenant()) is None
    given = keeper_of(UnfinishedTenant(client_secret="abc"))
    assert given is not None
    assert given.kind is Kind.ENVIRONMENT


def test_the_collector_reads_the_keyring(ring: FileKeyring) -> None:
    tenant = TenantSettings(id=TENANT, client_id="c", client_secret_keyring="entry")
    with pytest.raises(ConfigurationError, match="no entry 'entry'"):
        Credential.from_settings(tenant)
    write_secret("entry", SecretStr("one"))
    credential = Credential.from_settings(tenant)
    assert credential.for_msal() == "one"
    write_secret("entry", SecretStr("two"))
    assert credential.renewed().for_msal() == "two"
    write_secret("entry", None)
    write_secret("entry", None)
    assert read_secret("entry") is None
    # What is not there any more stays in use: a token may still be had with it.
    assert credential.renewed().for_msal() == "one"


def test_a_keyring_that_does_not_work_says_so(
    ring: FileKeyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_KEYRING_FILE")
    with pytest.raises(KeyringError, match="cannot be used: KeyError") as raised:
        KeyringKeeper("entry").read()
    assert raised.value.exit_code == ExitCode.ENVIRONMENT
    assert "--credential file" in raised.value.hint


def test_without_the_package_the_message_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "keyring", None)
    with pytest.raises(KeyringError) as raised:
        read_secret("entry")
    assert "aquila-mde[keyring]" in raised.value.hint


def test_a_file_that_is_something_else_says_so(tmp_path: Path) -> None:
    keeper = FileKeeper(tmp_path / "aquila.pem", Kind.CERTIFICATE)
    keeper.file.write_text("not PEM")
    public = new_certificate("x", timedelta(days=1)).certificate.public_bytes(Encoding.PEM)
    for text in ("not PEM", public.decode(), "-----BEGIN PRIVATE KEY-----\nx"):
        keeper.file.write_text(text)
        with pytest.raises(ConfigurationError, match="no private key with its certificate in"):
            keeper.read()
    keeper.file.write_bytes(b"\xff\xfe")
    with pytest.raises(StoreError, match="not a text file"):
        keeper.read()
    with pytest.raises(StoreError, match="Is a directory"):
        FileKeeper(tmp_path, Kind.FILE).read()


def test_a_folder_that_is_not_there_is_found_out_before(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written to"):
        check_writable(tmp_path / "missing" / "aquila.yml")
    with pytest.raises(StoreError, match="cannot be written: No such file"):
        FileKeeper(tmp_path / "missing" / "x", Kind.FILE).write(Slot.CURRENT, Material.secret("x"))

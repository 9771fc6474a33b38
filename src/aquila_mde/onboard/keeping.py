"""Where a secret or key is kept: a file that nobody else reads, the keyring, or nowhere.

Each place has three slots. A new credential lies in *next* until it was proven, then it becomes
*current*, and what was there is *previous* until the application does not have it any more. So a
run that is stopped in between leaves everything that the next one needs to go on.
"""

from __future__ import annotations

import os
import tempfile
from abc import ABC, abstractmethod
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from aquila_mde.defender.keyring import read_secret, write_secret
from aquila_mde.errors import ConfigurationError, ExitCode
from aquila_mde.onboard.material import Material
from aquila_mde.settings import UnfinishedTenant


class Kind(StrEnum):
    """What the application signs in with, and where that is kept."""

    CERTIFICATE = "certificate"
    FILE = "file"
    KEYRING = "keyring"
    ENVIRONMENT = "environment"


class Slot(StrEnum):
    """One of the three places at a place."""

    CURRENT = ""
    NEXT = ".new"
    PREVIOUS = ".old"


class StoreError(ConfigurationError):
    """A file cannot be written."""

    exit_code = ExitCode.ENVIRONMENT


class Keeper(ABC):
    """One place."""

    setting: tuple[str, str] | None
    """Key and value in the settings file that lead to it; None: the environment does."""
    kind: Kind

    @property
    @abstractmethod
    def where(self) -> str:
        """How the place is spoken of."""

    @abstractmethod
    def read(self, slot: Slot = Slot.CURRENT) -> Material | None:
        """What lies there."""

    @abstractmethod
    def write(self, slot: Slot, material: Material | None) -> None:
        """Put something there; None takes away what is there."""

    def promote(self) -> None:
        """Make the next credential the current one."""
        if (current := self.read()) is not None:
            self.write(Slot.PREVIOUS, current)
        self.write(Slot.CURRENT, self.read(Slot.NEXT))
        self.write(Slot.NEXT, None)


class FileKeeper(Keeper):
    """A file with mode 600: a PEM file or a secret."""

    def __init__(self, file: Path, kind: Kind) -> None:
        self.file, self.kind = file.absolute(), kind
        name = "certificate" if kind is Kind.CERTIFICATE else "client_secret_file"
        self.setting = (name, str(self.file))

    @property
    def where(self) -> str:
        """The file."""
        return str(self.file)

    def path(self, slot: Slot) -> Path:
        """The file of a slot."""
        return self.file.with_name(self.file.name + slot)

    def read(self, slot: Slot = Slot.CURRENT) -> Material | None:
        """What the file holds."""
        file = self.path(slot)
        try:
            text = file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not a text file"
            raise StoreError(f"{file} cannot be read: {reason}") from None
        if self.kind is Kind.CERTIFICATE:
            return Material.pem(text, str(file))
        return Material.secret(text) if text.strip() else None

    def write(self, slot: Slot, material: Material | None) -> None:
        """Replace the file as a whole."""
        file = self.path(slot)
        if material is None:
            file.unlink(missing_ok=True)
        else:
            text = material.text.get_secret_value()
            write_file(file, text if text.endswith("\n") else f"{text}\n", mode=0o600)


class KeyringKeeper(Keeper):
    """An entry of the system's keyring."""

    kind = Kind.KEYRING

    def __init__(self, entry: str) -> None:
        self.entry = entry
        self.setting = ("client_secret_keyring", entry)

    @property
    def where(self) -> str:
        """The entry."""
        return f"the keyring, entry {self.entry}"

    def read(self, slot: Slot = Slot.CURRENT) -> Material | None:
        """What the entry holds."""
        secret = read_secret(self.entry + slot)
        return None if secret is None else Material.secret(secret.get_secret_value())

    def write(self, slot: Slot, material: Material | None) -> None:
        """Replace the entry."""
        write_secret(self.entry + slot, None if material is None else material.text)


class EnvironmentKeeper(Keeper):
    """A secret that the environment brings, or that stands in the settings: not ours to keep."""

    kind = Kind.ENVIRONMENT
    setting = None

    def __init__(self, tenant: UnfinishedTenant) -> None:
        given = tenant.client_secret
        self._slots: dict[Slot, Material | None] = {}
        if given is not None:
            self._slots[Slot.CURRENT] = Material.secret(given.get_secret_value())

    @property
    def where(self) -> str:
        """The variable."""
        return "AQUILA_CLIENT_SECRET"

    def read(self, slot: Slot = Slot.CURRENT) -> Material | None:
        """What the environment brought, or this run made."""
        return self._slots.get(slot)

    def write(self, slot: Slot, material: Material | None) -> None:
        """Remember it for this run."""
        self._slots[slot] = material


def keeper_of(tenant: UnfinishedTenant) -> Keeper | None:
    """Where the settings keep the credential, if they have one."""
    if tenant.certificate is not None:
        return FileKeeper(tenant.certificate, Kind.CERTIFICATE)
    if tenant.client_secret_file is not None:
        return FileKeeper(tenant.client_secret_file, Kind.FILE)
    if tenant.client_secret_keyring is not None:
        return KeyringKeeper(tenant.client_secret_keyring)
    return EnvironmentKeeper(tenant) if tenant.client_secret is not None else None


def new_keeper(kind: Kind, settings_file: Path, tenant: UnfinishedTenant) -> Keeper:
    """A place for a credential, named after the settings file that will lead to it."""
    file = settings_file.absolute()
    if kind is Kind.CERTIFICATE:
        return FileKeeper(file.with_suffix(".pem"), kind)
    if kind is Kind.FILE:
        return FileKeeper(file.with_suffix(".secret"), kind)
    return KeyringKeeper(str(file)) if kind is Kind.KEYRING else EnvironmentKeeper(tenant)


def write_file(file: Path, text: str, *, mode: int) -> None:
    """Replace ``file`` as a whole; who owns it goes on owning it. Raises :class:`StoreError`."""
    file = file.resolve()
    try:
        number, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)  # mode 600
        try:
            with os.fdopen(number, "w", encoding="utf-8") as opened:
                opened.write(text)
                opened.flush()
                os.fsync(opened.fileno())
            Path(name).chmod(mode)
            if file.exists():
                owner = file.stat()
                with suppress(PermissionError):
                    os.chown(name, owner.st_uid, owner.st_gid)
            Path(name).replace(file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise StoreError(
            f"{file} cannot be written: {error.strerror}",
            hint="Run this as a user who may write there, or name another --config.",
        ) from None


def check_writable(file: Path) -> None:
    """Find out before anything is changed that ``file`` can be written."""
    folder = file.resolve().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(
            f"Files cannot be written to {folder}.",
            hint="Make the folder, run this as a user who may write there, or name another "
            "--config.",
        )

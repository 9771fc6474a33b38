"""What can go wrong between the collector and Microsoft."""

from __future__ import annotations

from typing import Literal

from aquila_mde.errors import (
    ConfigurationError,
    ExitCode,
    FatalError,
    RetriableError,
    SkippableError,
)

Heavy = Literal["rows", "size", "time", "cost"]
"""What a hunting query can be too much for."""


class SignInError(ConfigurationError):
    """Microsoft Entra does not sign the application in, or Defender does not take its token.

    ``code`` is the number after ``AADSTS``, or 0 where there was none.
    """

    exit_code = ExitCode.SIGN_IN

    def __init__(self, message: str, *, code: int = 0, hint: str = "", **where: str | None) -> None:
        super().__init__(message, hint=hint, **where)
        self.code = code


class PermissionDeniedError(ConfigurationError):
    """The application may not make this call.

    ``code`` is the API's: ``Forbidden`` (permission), ``DisabledFeature`` (licence or feature)
    or ``DisallowedOperation``. ``needed`` is the permission, filled in by who knows it.
    """

    exit_code = ExitCode.PERMISSION

    def __init__(self, message: str, *, code: str, hint: str = "", **where: str | None) -> None:
        super().__init__(message, hint=hint, **where)
        self.code = code
        self.needed: str | None = None


class BadRequestError(FatalError):
    """The API refuses the call as it stands; ``code`` is the API's name for the reason."""

    exit_code = ExitCode.DEFENDER

    def __init__(self, message: str, *, code: str, hint: str = "", **where: str | None) -> None:
        super().__init__(message, hint=hint, **where)
        self.code = code


class NotFoundError(FatalError):
    """What was asked for is not there (404), and this endpoint does not say "empty" that way."""

    exit_code = ExitCode.DEFENDER


class ForeignLinkError(FatalError):
    """A paging link leads out of the tenant's cloud; the token was not sent there."""

    exit_code = ExitCode.DEFENDER


class DefenderUnavailableError(RetriableError):
    """Microsoft could not be reached, or did not answer as it should, this time.

    ``wait`` is the least number of seconds that the answer asked for, where it did.
    """

    exit_code = ExitCode.DEFENDER

    def __init__(
        self, message: str, *, wait: float | None = None, hint: str = "", **where: str | None
    ) -> None:
        super().__init__(message, hint=hint, **where)
        self.wait = wait


class ExpandFailedError(DefenderUnavailableError):
    """An answer in which something is expanded fails each time; without that it may not."""


class HeavyQueryError(DefenderUnavailableError):
    """A hunting query is too much for one answer; one of less time may not be.

    ``reason`` says what it was too much for.
    """

    def __init__(self, message: str, *, reason: Heavy, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class QueryError(BadRequestError):
    """The service does not understand a hunting query."""


class FileUnavailableError(DefenderUnavailableError):
    """An export file could not be read to its end; fresh links may help."""


class PagingLimitError(FatalError):
    """A set that cannot be cut by time is larger than the service lets a client page through."""

    exit_code = ExitCode.DEFENDER


class SnapshotReplacedError(SkippableError):
    """While an export was read, the service has built the next one; its files are others."""

    exit_code = ExitCode.DEFENDER

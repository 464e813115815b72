"""The errors that refuse a request, with their HTTP statuses."""

from __future__ import annotations

from typing import Final

from lastaisle.errors import LastaisleError

RETRY_AFTER_SECONDS: Final = 2


class RefusedError(LastaisleError):
    """A request is not acknowledged: its sender must not assume that its calls are stored.

    Attributes:
        status: the HTTP status.
        code: one word for the metrics and for the client.
        retry_after: seconds after which the sender should try again; None: it should not.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_after = retry_after


class BusyError(RefusedError):
    """Too many calls or requests wait already; the sender should try again."""

    def __init__(self, message: str) -> None:
        super().__init__(503, "busy", message, RETRY_AFTER_SECONDS)


class StorageError(RefusedError):
    """The calls could not be made durable; the sender should try again."""

    def __init__(self, message: str) -> None:
        super().__init__(503, "storage", message, RETRY_AFTER_SECONDS)


class QuotaError(RefusedError):
    """A write key has sent as many events as it may; the sender should wait."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(429, "quota", message, retry_after)

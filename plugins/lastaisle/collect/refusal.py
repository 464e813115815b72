"""The errors that refuse a request, with their HTTP statuses."""

from __future__ import annotations

from lastaisle.errors import LastaisleError


class RefusedError(LastaisleError):
    """A request is not acknowledged: its sender must not assume that its calls are stored.

    Attributes:
        status: the HTTP status.
        code: one word for the metrics and for the client.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class BusyError(RefusedError):
    """Too many calls or requests wait already; the sender should try again."""

    def __init__(self, message: str) -> None:
        super().__init__(503, "busy", message)


class StorageError(RefusedError):
    """The calls could not be made durable; the sender should try again."""

    def __init__(self, message: str) -> None:
        super().__init__(503, "storage", message)

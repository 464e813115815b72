"""Why a request is refused, as HTTP says it."""

from __future__ import annotations

from lastaisle.errors import LastaisleError


class RefusedError(LastaisleError):
    """A request that is not acknowledged: its sender must not take its calls for stored.

    Attributes:
        status: the HTTP status.
        code: one word for the metrics and for the client.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class BusyError(RefusedError):
    """More is going on than fits into memory; the sender shall come again."""

    def __init__(self, message: str) -> None:
        super().__init__(503, "busy", message)


class StorageError(RefusedError):
    """What was sent could not be made durable; the sender shall come again."""

    def __init__(self, message: str) -> None:
        super().__init__(503, "storage", message)

"""The inbox: the user ids of requests of shoppers, in files that only one account can read.

No table, no log and no message holds the ids of a request. They lie in one file a request until the request
ends; then the file is deleted. On most disks of today nothing more can be done: a file system that copies on
write, or an SSD, keeps old blocks for a while, and overwriting a file reaches other blocks.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args

from data_contracts.spellings import identifier, spells_nothing
from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.settings.private import lies_in_lake, make_private

Kind = Literal["export", "erase", "restrict", "object"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
MOST_IDS: Final = 100_000
"""The most user ids of one request."""

_REQUEST: Final = re.compile(r"[0-9a-f]{16}")
_SUFFIX: Final = ".request.json"


class RequestError(LastaisleError):
    """A request of a shopper that cannot be. The message holds no user id."""

    exit_code = ExitCode.WRONG_REQUEST


class InboxError(LastaisleError):
    """The inbox cannot be used: its folder or a file of it. The message holds no user id."""

    exit_code = ExitCode.FAILED


class RequestBusyError(LastaisleError):
    """Another process works on the request."""

    exit_code = ExitCode.OVERTAKEN


@dataclass(frozen=True)
class Waiting:
    """A request whose ids lie in the inbox.

    Attributes:
        request_id: its name.
        kind: what is asked for.
        actor: who put it into the inbox.
        at: when.
        lake: the lake that it is about.
        user_ids: the shop's own ids, as raw_events has them.
    """

    request_id: str
    kind: Kind
    actor: str
    at: datetime
    lake: str
    user_ids: tuple[str, ...] = field(repr=False)


class Inbox:
    """The folder of the requests.

    Attributes:
        folder: the folder; receipts and copies lie in it, too.
        waiting_folder: the folder in it that holds the ids.
        lake_url: the lake.

    Args:
        folder: the folder; made on first use, with the mode 0700.
        lake_url: the lake; the folder may not lie in it.

    Raises:
        InboxError: the folder lies inside the lake.
    """

    def __init__(self, folder: str | Path, *, lake_url: str = "") -> None:
        self.folder = Path(folder).expanduser().resolve()
        self.waiting_folder = self.folder / "waiting"
        self.lake_url = lake_url
        if lies_in_lake(self.folder, lake_url):
            raise InboxError(
                f"the folder of requests {self.folder} lies inside the lake {lake_url}, which others may "
                "read: set LASTAISLE_REQUESTS to a folder elsewhere"
            )

    def put(self, kind: Kind, user_ids: Sequence[str], actor: str) -> str:
        """Put a request into the inbox; return its id, which says nothing about the shoppers.

        Args:
            kind: one of KINDS.
            user_ids: the shop's own ids, as `read_ids` reads them.
            actor: who asks.

        Raises:
            RequestError: the kind is unknown, or there is no id, or too many.
            InboxError: the file cannot be written.
        """
        if kind not in KINDS:
            raise RequestError(f"a request is one of {', '.join(KINDS)}; received {kind!r}")
        ids = tuple(dict.fromkeys(user_ids))
        if not 0 < len(ids) <= MOST_IDS:
            raise RequestError(f"a request has from 1 to {MOST_IDS:,} user ids; received {len(ids):,}")
        request_id = secrets.token_hex(8)
        document = {
            "request_id": request_id,
            "kind": kind,
            "actor": actor,
            "at": datetime.now(UTC).isoformat(),
            "lake": self.lake_url,
            "user_ids": ids,
        }
        self._make()
        write_private(self._file(request_id), json.dumps(document, ensure_ascii=True))
        return request_id

    def read(self, request_id: str) -> list[str]:
        """Return the user ids of a request.

        Raises:
            RequestError: the inbox has no such request.
            InboxError: its file cannot be read.
        """
        return list(self.waiting(request_id).user_ids)

    def waiting(self, request_id: str) -> Waiting:
        """Return a request, as `put` wrote it.

        Raises:
            RequestError: the inbox has no such request.
            InboxError: its file cannot be read.
        """
        file = self._file(request_id)
        try:
            document: dict[str, Any] = json.loads(file.read_text(encoding="ascii"))
            return Waiting(
                document["request_id"],
                document["kind"],
                document["actor"],
                datetime.fromisoformat(document["at"]),
                document["lake"],
                tuple(document["user_ids"]),
            )
        except FileNotFoundError:
            raise RequestError(
                f"the inbox {self.folder} has no ids of request {request_id}: the request has ended, or "
                "LASTAISLE_REQUESTS names another folder than the one in which it was asked"
            ) from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InboxError(
                f"the ids of request {request_id} in {self.folder} cannot be read ({type(error).__name__}): "
                "ask the shopper's request again, then delete this file"
            ) from None  # the cause may quote the file, and with it an id

    def names(self) -> list[str]:
        """Return the ids of all requests in the inbox, the oldest first.

        Raises:
            InboxError: the folder cannot be read.
        """
        try:
            files = [file for file in self.waiting_folder.iterdir() if file.name.endswith(_SUFFIX)]
            files.sort(key=lambda file: file.stat().st_mtime)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise InboxError(f"the inbox {self.folder} cannot be read: {error.strerror}") from error
        names = (file.name.removesuffix(_SUFFIX) for file in files)
        return [name for name in names if _REQUEST.fullmatch(name)]

    def finish(self, request_id: str) -> None:
        """Delete the user ids of a request that has ended; a second call changes nothing."""
        self._file(request_id).unlink(missing_ok=True)

    @contextmanager
    def hold(self, request_id: str) -> Iterator[None]:
        """Keep other processes of this machine from working on a request; the end of a process ends this.

        Raises:
            RequestBusyError: another process works on it.
            RequestError: the inbox has no such request.
        """
        try:
            handle = os.open(self._file(request_id), os.O_RDONLY)
        except FileNotFoundError:
            self.waiting(request_id)
            raise
        try:
            self._lock(handle, request_id)
            yield
        finally:
            os.close(handle)

    def _lock(self, handle: int, request_id: str) -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RequestBusyError(
                f"another process works on request {request_id}: `lastaisle subjects show {request_id}` "
                "tells when it has ended"
            ) from None

    def _file(self, request_id: str) -> Path:
        if not _REQUEST.fullmatch(request_id):
            raise RequestError(
                f"a request has an id of 16 hexadecimal digits, received {request_id[:40]!r}: "
                "`lastaisle subjects list` names all requests"
            )
        return self.waiting_folder / f"{request_id}{_SUFFIX}"

    def _make(self) -> None:
        try:
            make_private(self.folder)
            make_private(self.waiting_folder)
        except OSError as error:
            raise InboxError(
                f"the folder of requests {self.folder} cannot be made: {error.strerror}"
            ) from error


def read_ids(content: bytes, *, as_json: bool = False) -> list[str]:
    """Read user ids, one a line, in the spelling in which raw_events has them.

    Blank lines are left out, and an id that comes twice counts once.

    Args:
        content: UTF-8.
        as_json: whether the content is a JSON list of texts and numbers, for ids with line breaks.

    Raises:
        RequestError: the content cannot be read, or a text is no id. The message names the line, never the
            text.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise RequestError("the user ids should be UTF-8, and they are not: convert the file") from None
    texts = _of_json(text) if as_json else [line.removesuffix("\r") for line in text.split("\n")]
    ids: dict[str, None] = {}
    for number, each in enumerate(texts, start=1):
        if not each.strip() and not as_json:
            continue
        known = None if spells_nothing(each) else identifier(each)
        if not known:
            raise RequestError(
                f"{'entry' if as_json else 'line'} {number} is no user id: it spells a missing value, a "
                "truth value, a rounded number, or JSON, which raw_events never has as an id"
            )
        ids[known] = None
    if not ids:
        raise RequestError("there is no user id: write one id a line")
    return list(ids)


def _of_json(text: str) -> list[str]:
    try:
        values = json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise RequestError('the user ids should be a JSON list of texts and numbers, such as ["anna", 17]')
    return values


def write_private(file: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all; an existing file is replaced.

    Raises:
        InboxError: the file cannot be written.
    """
    draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise InboxError(f"cannot write {file}: {error.strerror}") from error

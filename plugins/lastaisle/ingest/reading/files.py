"""Find the files of a source, on a local disk or in an object store, and open them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from fsspec import AbstractFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem, make_path_posix
from fsspec.registry import available_protocols

from lastaisle.errors import LastaisleError, SourceError
from lastaisle.ingest.reading.file_names import EMPTY, first_passed_over
from lastaisle.ingest.reading.local_files import PATTERN, LocalFiles
from lastaisle.telemetry.shown import one_line, without_password

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class FileChangedError(SourceError):
    """A file was changed between its listing and its last line; the next run reads it."""


class NothingFoundError(SourceError):
    """A source has no file that could be read: it is missing or empty, or all of its files are passed over.

    Attributes:
        passed_over: why each file was passed over, by its address.
    """

    def __init__(self, message: str, passed_over: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.passed_over = dict(passed_over or {})

    @property
    def is_missing(self) -> bool:
        """Whether there is no content at all: no place, no files, or only files of 0 bytes."""
        return all(reason == EMPTY for reason in self.passed_over.values())


@dataclass(frozen=True)
class SourceFile:
    """One file of a source.

    Attributes:
        url: its path or URL, as the tables name it.
        size: bytes.
        filesystem: the file system that listed the file.
        path: the path of the file in that file system.
        state: a text that changes with the content: size and time of the last change, or the identifier of an
            upload to an object store. Empty if the store reports neither.
        modified: the time of the last change, in seconds since 1970. None if the store shows only complete
            files.
    """

    url: str
    size: int
    filesystem: AbstractFileSystem = field(repr=False)
    path: str = field(repr=False)
    state: str = ""
    modified: float | None = None

    @property
    def shown(self) -> str:
        """Its path or URL in one line and without a password, for logs and messages."""
        return one_line(without_password(self.url))

    def changed_within(self, seconds: float) -> bool:
        """Tell whether the file was changed within the last seconds, so that it may still be growing."""
        return self.modified is not None and abs(time.time() - self.modified) < seconds

    def open(self) -> IO[bytes]:
        """Open the file for reading bytes."""
        stream: IO[bytes] = self.filesystem.open(self.path, "rb")
        return stream

    def refuse_changed(self) -> None:
        """Refuse a file that changed since it was listed.

        Raises:
            FileChangedError: the file was changed.
            SourceError: the file is gone.
        """
        if not self.state:
            return
        try:
            state, _ = _state_now(self.filesystem, self.path)
        except Exception as error:  # each file system has errors of its own
            raise SourceError(f"{self.shown} went away while it was read ({one_line(str(error))})") from error
        if state != self.state:
            raise FileChangedError(f"{self.shown} changed while it was read: was {self.state}, is {state}")


@dataclass(frozen=True)
class FoundFiles:
    """The files of a source, in the order of their names, and everything there that is not read.

    Attributes:
        files: the files to read.
        passed_over: why each other file or folder is passed over, by its address; that of a folder ends with
            a slash.
        failed: the error of each folder that cannot be listed and of each name that cannot be used.
    """

    files: list[SourceFile]
    passed_over: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def refuse_nothing(self, source: str) -> None:
        """Refuse a source of which nothing can be read.

        Raises:
            NothingFoundError: there is no file, and none that failed.
        """
        if self.files or self.failed:
            return
        others = [f"{address} ({reason})" for address, reason in list(self.passed_over.items())[:10]]
        more = f" and {len(self.passed_over) - 10} more" if len(self.passed_over) > 10 else ""
        why = f"; passed over: {', '.join(others)}{more}" if others else ""
        raise NothingFoundError(
            f"nothing to read at {without_password(source)!r}: there is no file{why}", self.passed_over
        )


def list_files(source: str, options: Mapping[str, Any] | None = None) -> FoundFiles:
    """List the files of a source.

    Args:
        source: a file, a folder (with all folders below it) or a pattern; a path or any fsspec URL. A path
            that exists is that path, also with the signs of a pattern in it. A file that is named itself is
            read under any name. Below a folder, and for a pattern, hidden files, unfinished uploads and files
            of the operating system are passed over. Empty files are passed over always.
        options: the options of fsspec for this source.

    Raises:
        NothingFoundError: the source does not exist.
        SourceError: the source cannot be reached or listed.
    """
    try:
        filesystem, path = _locate(source, dict(options or {}))
        if isinstance(filesystem, LocalFileSystem):
            return _list_local(filesystem, path)
        return _list_store(filesystem, path)
    except LastaisleError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NothingFoundError(
            f"cannot read the source {without_password(source)!r}: there is no such file or folder"
        ) from error
    except Exception as error:  # each file system has errors of its own, for logins, buckets, addresses
        reason = without_password(" ".join(str(error).split())) or type(error).__name__
        raise SourceError(f"cannot read the source {without_password(source)!r}: {reason}") from error


def _locate(source: str, options: dict[str, Any]) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a source, and the path in it.

    A local path may hold the signs of a URL: `a::b.jsonl` is a chain only if `a` is a protocol of fsspec, and
    if there is no such file.
    """
    source = str(source)
    if _URL.match(source):
        return _split(source, options)
    path = str(make_path_posix(source)).rstrip("/") or "/"
    chained = "::" in source and source.partition("::")[0] in available_protocols()
    return _split(source, options) if chained and not os.path.lexists(path) else (LocalFileSystem(), path)


def _split(url: str, options: dict[str, Any]) -> tuple[AbstractFileSystem, str]:
    filesystem, path = url_to_fs(url, **options)
    return filesystem, str(path)


def _list_local(filesystem: AbstractFileSystem, path: str) -> FoundFiles:
    found = LocalFiles(path)
    files = [
        SourceFile(name, state.st_size, filesystem, name, *_state(_info(state)))
        for name, state in sorted(found.files.items())
    ]
    return FoundFiles(files, found.passed_over, found.failed)


def _list_store(filesystem: AbstractFileSystem, path: str) -> FoundFiles:
    """List a path or a pattern of a file system that is not local."""
    filesystem.invalidate_cache()
    base = path.rstrip("/")
    if (pattern := _pattern_in(filesystem, path)) and not filesystem.exists(path):
        entries = dict(filesystem.glob(path, detail=True))
        for folder in [name for name, info in entries.items() if info["type"] == "directory"]:
            del entries[folder]
            entries |= filesystem.find(folder, detail=True)
        base = path[: pattern.start()].rpartition("/")[0]
    elif filesystem.isdir(path):
        entries = filesystem.find(path, detail=True)
    else:
        info = filesystem.info(path)
        path = info["name"]
        entries = {path: info}
        base = path
    found = FoundFiles([])
    for name, info in sorted(entries.items()):
        _sort_in(found, filesystem, base, name, info)
    return found


def _pattern_in(filesystem: AbstractFileSystem, path: str) -> re.Match[str] | None:
    """Return the first sign of a pattern; in an address of the web, ? begins the query."""
    end = path.find("?") if "http" in filesystem.protocol else -1
    return PATTERN.search(path, 0, len(path) if end < 0 else end)


def _sort_in(
    found: FoundFiles, filesystem: AbstractFileSystem, base: str, name: str, info: Mapping[str, Any]
) -> None:
    """Add one entry of a store to the files that are read, or to those that are passed over."""
    below = name.removeprefix(base).strip("/").split("/") if name != base else []
    url = str(filesystem.unstrip_protocol(name))
    if info["type"] == "file" and info["size"] == 0:
        found.passed_over[one_line(url)] = EMPTY
    elif hidden := first_passed_over(below):
        position, reason = hidden
        others = "/".join(below[position + 1 :])
        found.passed_over[one_line(url.removesuffix(others))] = reason
    elif info["type"] != "file":
        if info["type"] != "directory":
            found.passed_over[one_line(url)] = f"it is no file but: {info['type']}"
    else:
        found.files.append(SourceFile(url, int(info["size"] or 0), filesystem, name, *_state(info)))


def _state_now(filesystem: AbstractFileSystem, path: str) -> tuple[str, float | None]:
    if isinstance(filesystem, LocalFileSystem):
        return _state(_info(Path(path).stat()))
    filesystem.invalidate_cache(path)
    return _state(filesystem.info(path))


def _info(state: os.stat_result) -> dict[str, Any]:
    return {"size": state.st_size, "mtime": state.st_mtime}


def _state(info: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return a text that changes with the content of a file, and the time of its last change.

    An upload to an object store appears only when it is complete, so its time is not needed.
    """
    for name in ("ETag", "etag", "generation"):
        if info.get(name):
            return f"{info['size']} {name} {info[name]}".replace('"', ""), None
    for name in ("mtime", "created"):
        changed = info.get(name)
        if changed is not None:
            seconds = changed.timestamp() if isinstance(changed, datetime) else float(changed)
            return f"{info['size']} bytes of {seconds!r}", seconds
    return "", None

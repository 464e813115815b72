"""Find the regular files of a local path or pattern, and name everything else that lies there."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from lastaisle.ingest.reading.file_names import EMPTY, first_passed_over, why_passed_over
from lastaisle.telemetry.shown import one_line

PATTERN = re.compile(r"[*?\[]")
_KINDS = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class LocalFiles:
    """The files of one path or pattern.

    A symbolic link is followed after all files that are not linked. So each real file is read once, under its
    own name where that is among them, and a loop of links ends.

    Attributes:
        files: the regular files with a content, by their paths, with their state.
        passed_over: why everything else is not read, by path; the path of a folder ends with a slash.
        failed: the error of each folder that cannot be listed, and of each file whose name is no UTF-8.
    """

    def __init__(self, path: str) -> None:
        """Find the files.

        Args:
            path: an absolute path, which is taken as it is if it exists, else as a pattern.

        Raises:
            OSError: there is no such path, and it is no pattern; or the path cannot be reached.
        """
        self.files: dict[str, os.stat_result] = {}
        self.passed_over: dict[str, str] = {}
        self.failed: dict[str, str] = {}
        self._real_files: dict[str, str] = {}
        self._real_folders: set[str] = set()
        self._links: list[str] = []
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            if not PATTERN.search(path):
                raise
            self._match(path)
        else:
            self._top = os.path.realpath(path)
            self._take_named(path)
        self._follow_links()

    def _take_named(self, path: str) -> None:
        """Take in the path that was asked for, whatever its name is."""
        try:
            state = Path(path).stat()
        except OSError as error:
            if not Path(path).is_symlink():
                raise
            self._pass_over(path, _broken(error))
            return
        if stat.S_ISDIR(state.st_mode):
            with os.scandir(path):  # an unreadable folder is an error here, not a failure beside others
                pass
        self._take(path, os.path.realpath(path), state)

    def _match(self, pattern: str) -> None:
        """Take in every file that matches a pattern, and the files of every folder that matches."""
        parts = pattern.split("/")
        fixed = next(position for position, part in enumerate(parts) if PATTERN.search(part))
        base = "/".join(parts[:fixed]) or "/"
        self._top = os.path.realpath(base)
        os.lstat(base)  # a pattern in a folder that does not exist is an error
        for path in self._expand(base, parts[fixed:]):
            below = os.path.relpath(path, base).split("/") if path != base else []
            if found := first_passed_over(below):
                position, reason = found
                self._pass_over("/".join((base.rstrip("/"), *below[: position + 1])), reason)
            elif Path(path).is_symlink():
                self._links.append(path)
            else:
                self._take_entry(path, os.path.realpath(path))

    def _expand(self, folder: str, parts: list[str]) -> Iterator[str]:
        """Yield what matches the parts of a pattern below a folder; `**` is any number of folders."""
        if not parts:
            yield folder
            return
        first, *others = parts
        if not PATTERN.search(first):
            path = f"{folder.rstrip('/')}/{first}"
            if self._exists(path):
                yield from self._expand(path, others)
            return
        if first == "**":
            yield from self._expand(folder, others)
            if not others:  # the folder itself matches, with everything below it
                return
        for entry in self._entries(folder):
            deeper = entry.is_dir(follow_symlinks=first != "**")
            if first == "**":
                if deeper and not why_passed_over(entry.name):
                    yield from self._expand(entry.path, parts)
            elif fnmatchcase(entry.name, first) and (deeper or not others):
                yield from self._expand(entry.path, others)

    def _exists(self, path: str) -> bool:
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            self.failed[shown(path)] = f"cannot be read: {error.strerror}"
            return False
        return True

    def _walk(self, folder: str, real: str) -> None:
        """Take in all files below a folder, which is reached by a path and lies at a real path."""
        waiting = [(folder, real)]
        while waiting:
            folder, real = waiting.pop()
            if real in self._real_folders:
                continue
            self._real_folders.add(real)
            for entry in self._entries(folder):
                is_folder = entry.is_dir(follow_symlinks=False)
                if reason := why_passed_over(entry.name):
                    empty = not is_folder and not entry.is_symlink() and not entry.stat().st_size
                    self._pass_over(entry.path, EMPTY if empty else reason, folder=is_folder)
                elif entry.is_symlink():
                    self._links.append(entry.path)
                elif is_folder:
                    waiting.append((entry.path, f"{real.rstrip('/')}/{entry.name}"))
                else:
                    self._take_entry(entry.path, f"{real.rstrip('/')}/{entry.name}")

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):  # removed since the folder above was listed
            return []
        except OSError as error:
            self.failed[f"{shown(folder)}/"] = f"cannot list this folder: {error.strerror}"
            return []

    def _take_entry(self, path: str, real: str) -> None:
        try:
            state = os.lstat(path)
        except OSError as error:
            self.failed[shown(path)] = f"cannot be read: {error.strerror}"
        else:
            self._take(path, real, state)

    def _take(self, path: str, real: str, state: os.stat_result) -> None:
        """Take in one file, or all files of a folder."""
        if stat.S_ISDIR(state.st_mode):
            self._walk(path, real)
        elif not stat.S_ISREG(state.st_mode):
            self._pass_over(path, f"it is {_KINDS.get(stat.S_IFMT(state.st_mode), 'no file')}")
        elif not state.st_size:
            self._pass_over(path, EMPTY)
        elif not _is_utf8(path):
            self.failed[shown(path)] = "its name is no UTF-8: rename it"
        elif real not in self._real_files:
            self._real_files[real] = path
            self.files[path] = state

    def _follow_links(self) -> None:
        """Take in the targets of the links, and of the links below them."""
        while self._links:
            links, self._links = sorted(set(self._links)), []
            for link in links:
                try:
                    real = os.path.realpath(link, strict=True)
                    state = Path(real).stat()
                except OSError as error:
                    self._pass_over(link, _broken(error))
                    continue
                if stat.S_ISDIR(state.st_mode) and f"{self._top}/".startswith(f"{real.rstrip('/')}/"):
                    self._pass_over(link, "it links to a folder that holds it")
                elif real in self._real_folders or real in self._real_files:
                    self._pass_over(link, f"it links to {shown(real)}, which is read anyway")
                else:
                    self._take(link, real, state)

    def _pass_over(self, path: str, reason: str, *, folder: bool = False) -> None:
        self.passed_over[shown(path) + ("/" if folder else "")] = reason


def shown(path: str) -> str:
    """Return a path as text of one line; bytes that are no UTF-8 and control characters are escaped."""
    return one_line(os.fsencode(path).decode("utf-8", "backslashreplace"))


def _is_utf8(path: str) -> bool:
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _broken(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "it is a loop of symbolic links"
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "it is a symbolic link to nothing"
    return f"it is a symbolic link that cannot be followed: {error.strerror}"

"""Read the folder of the definitions: each file by itself, so that an error in one stops no other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lastaisle.experiments.definition.definition import (
    Definition,
    DefinitionError,
    glance,
    read_definition,
)

SUFFIXES: Final = (".yaml", ".yml")


@dataclass(frozen=True)
class Refused:
    """A definition that is not applied.

    Attributes:
        path: the file.
        name: the name of the experiment; None if the file does not say it.
        problems: each place with its reason.
    """

    path: Path
    name: str | None
    problems: tuple[tuple[str, str], ...]

    def lines(self) -> list[str]:
        """Return each problem in one line."""
        return [f"{self.path}: {where}: {reason}" for where, reason in self.problems]


@dataclass(frozen=True)
class Definitions:
    """The definitions of a folder, or of one file.

    Attributes:
        place: the folder or the file.
        found: the definitions without errors, by name.
        refused: the files with errors.
        killed: the names whose kill switch is on, with their file; files with other errors are among them.
        skipped: entries of the folder that are no definitions.
    """

    place: Path
    found: tuple[Definition, ...]
    refused: tuple[Refused, ...]
    killed: dict[str, Path]
    skipped: tuple[Path, ...]


def read_definitions(place: Path, *, may_be_missing: bool = False) -> Definitions:
    """Read the definitions of a folder, or of one file.

    Args:
        place: the folder or the file.
        may_be_missing: whether a folder that is not there holds no definitions.

    Raises:
        DefinitionError: the place is not there, or the folder cannot be listed.
    """
    files, skipped = _files_of(place, may_be_missing=may_be_missing)
    found: list[Definition] = []
    refused: list[Refused] = []
    killed: dict[str, Path] = {}
    for path in files:
        name, is_killed = glance(path)
        if name is not None and is_killed:
            killed[name] = path
        try:
            found.append(read_definition(path))
        except DefinitionError as error:
            refused.append(Refused(path, name, error.problems))
    doubled = dict(_doubled(found))
    refused += doubled.values()
    kept = [definition for definition in found if definition.path not in doubled]
    kept.sort(key=lambda definition: definition.name)
    return Definitions(place, tuple(kept), tuple(refused), killed, skipped)


def _files_of(place: Path, *, may_be_missing: bool) -> tuple[list[Path], tuple[Path, ...]]:
    try:
        if place.is_dir():
            entries = sorted(entry for entry in place.iterdir() if not entry.name.startswith("."))
            files = [entry for entry in entries if entry.suffix in SUFFIXES and not entry.is_dir()]
            return files, tuple(entry for entry in entries if entry not in files)
        if place.exists():
            return [place], ()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DefinitionError(place, [("folder", f"cannot be read ({reason})")]) from error
    if may_be_missing:
        return [], ()
    hint = "name a file or a folder of definitions, or set LASTAISLE_EXPERIMENTS"
    raise DefinitionError(place, [("place", f"there is no such file or folder; {hint}")])


def _doubled(found: list[Definition]) -> Iterator[tuple[Path, Refused]]:
    """Yield the files whose name another file has too."""
    for definition in found:
        others = [other.path for other in found if other.name == definition.name and other is not definition]
        if others:
            reason = f"{definition.name!r} is the name in {others[0]} too: give one of them another name"
            problem = definition.problem(("name",), reason)
            yield definition.path, Refused(definition.path, definition.name, (problem,))

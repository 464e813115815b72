"""Find the home folder for the command line if LASTAISLE_HOME is not set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from lastaisle.settings.settings import HOME

NAME: Final = ".lastaisle"


class FoundHome(NamedTuple):
    """A home folder, and the places that were searched.

    Attributes:
        path: the folder. It exists, unless it is the default in the user's home folder.
        searched: every searched place, in order; empty if LASTAISLE_HOME names the folder.
    """

    path: Path
    searched: tuple[Path, ...]


def find_home(environ: Mapping[str, str], start: Path) -> FoundHome:
    """Find the home folder, as `make demo` or an earlier command made it.

    LASTAISLE_HOME comes first. Without it, the home is the folder .lastaisle in `start` or in the nearest
    folder above it, up to the root of the Git checkout. Otherwise it is .lastaisle in the user's home folder.

    Args:
        environ: the environment.
        start: the current folder.
    """
    if named := environ.get(HOME, "").strip():
        return FoundHome(Path(named), ())
    searched = []
    for folder in (start.resolve(), *start.resolve().parents):
        searched.append(folder / NAME)
        if searched[-1].is_dir():
            return FoundHome(searched[-1], tuple(searched))
        if (folder / ".git").exists():
            break
    last = Path.home() / NAME
    return FoundHome(last, tuple(dict.fromkeys([*searched, last])))

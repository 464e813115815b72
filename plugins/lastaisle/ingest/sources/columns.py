"""The columns of a format that has columns, and the layout in which one file holds them.

A file holds the columns under a header, in the order of the format without a header, or as JSON objects: JSON
Lines and the rows of Parquet files. The first lines of the file decide. A header that is not understood is
refused, since a guess would give wrong contents.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from lastaisle.errors import SourceError
from lastaisle.telemetry.shown import reads_like_name

ESCAPED = {",": ",", "\t": r"\t", ";": ";", "|": r"\|"}
"""The signs that may separate columns, as a regular expression writes them."""
SEPARATORS = tuple(ESCAPED)
FIRST_LINES = 1000
"""The most lines that decide on the layout of a file."""
_SHOWN_NAMES = 30
_TRIED_LINES = 100  # enough to tell two orders apart
_ISO_TIME = re.compile(r"\d{4}-\d\d?-\d\d?([T ]|$)")
_SECONDS = (946_684_800, 4_102_444_800)  # the years 2000 to 2100


class HeaderError(SourceError):
    """A first line that names columns, but not those that the format needs."""


@dataclass(frozen=True)
class Layout:
    """Where one file holds the columns of its format.

    Attributes:
        places: the position in a line, from 1, of each column of the format that the file has.
        keys: the keys of each column, if the lines are JSON objects; the first that has a value counts.
        separator: the sign between two columns; None for JSON objects.
        width: the number of columns of a line, with those that the format does not know.
        header: the first line, if it names the columns.
        salt: tells the layout from the usual ones, under which the same lines give the same rows.
    """

    places: Mapping[str, int] = field(default_factory=dict)
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    separator: str | None = None
    width: int = 0
    header: str | None = None
    salt: str = ""


@dataclass(frozen=True)
class Columns:
    """The columns of a format.

    Attributes:
        names: the names under which a header or a JSON object may hold each column, the usual name first.
            Capitals, blanks, hyphens and underscores make no difference.
        orders: the orders of the columns in files without a header, the more usual order first. Files of
            another number of columns are not understood. None if the format always has a header.
        needed: the columns that a header must name.
        time: the column of the time.
        per_second: the unit of a time that is a number: 1 for seconds, 1000 for milliseconds.
        texts: the columns of free text, such as a brand, which may be a word like None.
        separators: the signs that may stand between two columns.
    """

    names: Mapping[str, Sequence[str]]
    orders: Sequence[Sequence[str]]
    needed: Sequence[str]
    time: str
    per_second: int = 1
    texts: frozenset[str] = field(default_factory=frozenset)
    separators: Sequence[str] = SEPARATORS

    def layout(self, lines: Sequence[str], *, header: bool = True) -> Layout:
        """Find out how the first lines of a file hold the columns.

        Args:
            lines: the first lines, without blank lines.
            header: whether the first line may be a header. A message of a topic is never one.

        Raises:
            HeaderError: the first line is a header without a needed column, with two columns of one name, or
                with no known name at all.
        """
        if lines and 2 * sum(line.lstrip().startswith("{") for line in lines) > len(lines):
            return self._objects(lines)
        if header and lines and (named := self._named(lines[0])):
            return named
        if not self.orders and not (header and lines):
            return self._objects(lines)
        if not self.orders:
            raise HeaderError(f"the first line is no header ({self._counted(lines[0])}). {self._wanted()}")
        layout = self._ordered(lines)
        if header and lines and self._is_unknown_header(lines, layout):
            raise HeaderError(
                f"the first line names columns of which none is known ({self._counted(lines[0])}). "
                f"{self._wanted()}"
            )
        return layout

    def named_in(self, line: str) -> bool:
        """Tell whether a line is a header that names at least two columns of the format."""
        return self._header(line) is not None

    def shown(self, line: str) -> str:
        """Return the names of a header for a message, and the number of those that do not read like names.

        A message goes into tables, logs and alerts, and a line that begins like a header may hold values.
        """
        _, written = self._header(line) or ("", [])
        known = self._known()
        stripped = [name.strip("\ufeff") for name in written]
        names = [name for name in stripped if reads_like_name(name) or plain(name) in known]
        left_out = len(written) - len(names[:_SHOWN_NAMES])
        more = [f"{left_out} more that are not shown"] if left_out else []
        return ", ".join([*names[:_SHOWN_NAMES], *more])

    def _counted(self, line: str) -> str:
        """Return the number of columns of a line that may be a row of data, so that no value is shown."""
        width = max(len(cells(line, separator) or [""]) for separator in self.separators)
        return f"{width} {'column' if width == 1 else 'columns'}"

    def order(self, found: Collection[str]) -> Sequence[str]:
        """Return the order without a header of a file that has these columns."""
        first = self.orders[0] if self.orders else tuple(self.names)
        return next((order for order in self.orders if set(order) <= set(found)), first)

    def written(self, column: str) -> tuple[bytes, ...]:
        """Return how headers write the names of a column, in small letters."""
        names = {name.lower() for name in self.names[column]}
        forms = {name.replace("_", sign) for name in names for sign in ("_", "", " ", "-")}
        return tuple(sorted(form.encode() for form in forms))

    def _objects(self, lines: Sequence[str]) -> Layout:
        """Return the keys of each column, with the spellings that the lines use."""
        seen = dict.fromkeys(key for line in lines for key in _keys(line))
        found = {
            name: tuple(
                dict.fromkeys(
                    key
                    for alias in aliases
                    for key in (alias, *(one for one in seen if plain(one) == plain(alias)))
                )
            )
            for name, aliases in self.names.items()
        }
        unusual = {name: keys for name, keys in found.items() if keys != tuple(self.names[name])}
        return Layout(keys=found, salt=f"objects {unusual}" if unusual else "")

    def _header(self, line: str) -> tuple[str, list[str]] | None:
        """Return the separator and the names of a header; None if the line is none."""
        split = [(separator, cells(line, separator) or []) for separator in self.separators]
        known = self._known()
        separator, names = max(split, key=lambda one: len({plain(name) for name in one[1]} & known))
        return (separator, names) if len({plain(name) for name in names} & known) > 1 else None

    def _known(self) -> set[str]:
        """Return the names of all columns, without what makes no difference."""
        return {plain(alias) for names in self.names.values() for alias in names}

    def _named(self, line: str) -> Layout | None:
        header = self._header(line)
        if header is None:
            return None
        separator, written = header
        names = [plain(name) for name in written]
        found: dict[str, int] = {}
        for column, aliases in self.names.items():
            chosen = next((plain(alias) for alias in aliases if plain(alias) in names), None)
            if chosen is None:
                continue
            if names.count(chosen) > 1:
                raise HeaderError(f"the header names the column {column} twice: {self.shown(line)}")
            found[column] = names.index(chosen) + 1
        missing = [name for name in self.needed if name not in found]
        if missing:
            raise HeaderError(
                f"the header has no column for {', '.join(missing)}: {self.shown(line)}. {self._wanted()}"
            )
        order = sorted(found, key=found.__getitem__)
        salt = "" if self._usual(order, len(names)) else f"{separator}{len(names)} {found}"
        return Layout(found, separator=separator, width=len(names), header=line, salt=salt)

    def _usual(self, order: Sequence[str], width: int) -> bool:
        """Tell whether a file without a header, whose columns stand like this, would be read alike."""
        usual = next((tuple(known) for known in self.orders if len(known) == width), None)
        return usual == tuple(order)

    def _ordered(self, lines: Sequence[str]) -> Layout:
        """Return the layout by position that fits most lines."""
        tried = lines[:_TRIED_LINES]
        best, most = (self.separators[0], self.orders[0]), (0, 0)
        for separator in self.separators:
            split = [cells(line, separator) or [] for line in tried]
            for order in self.orders:
                place = list(order).index(self.time)
                fitting = [line for line in split if len(line) == len(order)]
                score = (sum(self.is_time(line[place]) for line in fitting), len(fitting))
                if score > most:
                    best, most = (separator, order), score
        separator, order = best
        salt = "" if self._usual(order, len(order)) else f"{separator}{list(order)}"
        places = {name: place for place, name in enumerate(order, start=1)}
        return Layout(places, separator=separator, width=len(order), salt=salt)

    def _is_unknown_header(self, lines: Sequence[str], layout: Layout) -> bool:
        """Tell whether the first line holds words only, as many as a line has columns."""
        split = [[cells(line, separator) or [] for line in lines[:2]] for separator in self.separators]
        first, *others = max(split, key=lambda found: len(found[0]))
        widths = {layout.width, *(len(line) for line in others)}
        return 1 < len(first) in widths and all(re.match(r"[^\W\d_]", name) for name in first)

    def is_time(self, text: str) -> bool:
        """Tell whether a text looks like a time between 2000 and 2100, in the format's unit."""
        text = text.strip()
        if _ISO_TIME.match(text):
            return True
        try:
            return _SECONDS[0] <= float(text) / self.per_second < _SECONDS[1]
        except ValueError:
            return False

    def _wanted(self) -> str:
        wanted = "; ".join(f"{name}: {' or '.join(self.names[name])}" for name in self.needed)
        return f"The format needs columns of these names ({wanted}). Rename them, or choose another format"


def plain(name: str) -> str:
    """Return the name of a column without what makes no difference: capitals, blanks, `_` and `-`."""
    return re.sub(r"[\s_\-\ufeff]+", "", name).lower()


def cells(line: str, separator: str) -> list[str] | None:
    """Split a line by RFC 4180; None if its quotes are not closed or stand where they may not."""
    line = line.rstrip("\r\n")
    if '"' not in line:
        return [cell.strip(" ") for cell in line.split(separator)]
    if not record(separator).fullmatch(line):
        return None
    found = re.findall(rf"(?:^|{ESCAPED[separator]})({cell(separator)})", line)
    return [_unquoted(text.strip(" ")) for text in found]


def cell(separator: str) -> str:
    """Return the regular expression of one column, quoted or not."""
    sign = ESCAPED[separator]
    return rf' *"(?:[^"]|"")*" *| *[^" {sign}][^{sign}]*| *'


def is_open(line: str, separator: str) -> bool:
    """Tell whether a line ends within quotes."""
    return bool(_open(separator).fullmatch(line))


@cache
def _open(separator: str) -> re.Pattern[str]:
    return re.compile(rf"""(?:(?:{cell(separator)}){ESCAPED[separator]})*+ *"(?:[^"]|"")*""")


@cache
def record(separator: str) -> re.Pattern[str]:
    """Return the pattern of a whole line whose quotes are closed."""
    return re.compile(rf"(?:(?:{cell(separator)}){ESCAPED[separator]})*+(?:{cell(separator)})")


def _unquoted(text: str) -> str:
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def _keys(line: str) -> Iterable[str]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return ()
    return document if isinstance(document, dict) else ()

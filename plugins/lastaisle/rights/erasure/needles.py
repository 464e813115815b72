"""Search bytes for many texts at once, each in every form in which programs write a text.

A window of eight bytes of each form goes into a table of bits. NumPy tests all windows of the searched bytes
against the table, about 100 MB a second, however many forms there are. Only the few windows that pass are
compared byte by byte.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from lastaisle.rights.erasure.forms import STANDS_ALONE, forms_of_pseudonym, forms_of_text

#: A text of fewer characters, or of digits alone, stands in files that do not name the shopper.
SHORTEST: Final = 6
_SHORTEST_OF_DIGITS: Final = 16
_SHORTEST_OF_LETTERS: Final = 20
_PSEUDONYM: Final = re.compile("[0-9a-f]{32}")
_WIDE: Final = 8
_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_CHUNK: Final = 1 << 20
_SAMPLE_BYTES: Final = 1 << 18


@dataclass(frozen=True)
class Form:
    """A text in one form.

    Attributes:
        content: the bytes that are searched.
        text: the number of the text.
        kind: how the bytes were made of the text, a key of STANDS_ALONE.
    """

    content: bytes = field(repr=False)
    text: int
    kind: str


@dataclass(frozen=True)
class Hit:
    """A place at which a text stands.

    Attributes:
        start: the first byte.
        end: the byte after the last.
        text: the number of the text.
    """

    start: int
    end: int
    text: int


def is_distinct(text: str) -> bool:
    """Tell whether a text names a shopper wherever it stands, so that a search of bytes can prove it gone.

    Short texts, numbers and plain words (17, 214821026, desktop) stand everywhere; only columns and fields
    that hold ids tell about those.
    """
    if len(text) < SHORTEST:
        return False
    if text.isdigit():
        return len(text) >= _SHORTEST_OF_DIGITS
    plain = text.replace("_", "").replace("-", "").replace(" ", "")
    return len(text) >= _SHORTEST_OF_LETTERS if plain.isalpha() else True


class Needles:
    """The texts that are searched, in all of their forms.

    Args:
        texts: ids as the shop writes them; only distinct ones are searched.
        pseudonyms: pseudonyms, as 32 hex characters.
        sample: some of the bytes that will be searched; windows that are frequent in them are avoided.
    """

    def __init__(self, texts: Iterable[str], pseudonyms: Collection[str] = (), sample: bytes = b"") -> None:
        named = [name for name in dict.fromkeys(pseudonyms) if _PSEUDONYM.fullmatch(name)]
        # Tables of other programs may hold other names in the columns of pseudonyms.
        others = [name for name in pseudonyms if not _PSEUDONYM.fullmatch(name)]
        given = list(dict.fromkeys([*texts, *others]))
        self.texts = [text for text in given if is_distinct(text)]
        self.too_short = len(given) - len(self.texts)
        forms = [
            Form(content, number, kind)
            for number, text in enumerate(self.texts)
            for kind, content in forms_of_text(text)
        ]
        for pseudonym in named:
            forms += [Form(content, len(self.texts), kind) for kind, content in forms_of_pseudonym(pseudonym)]
            self.texts.append(pseudonym)
        by_width: dict[int, dict[bytes, Form]] = {_WIDE: {}, SHORTEST: {}}
        for form in forms:
            by_width[_WIDE if len(form.content) >= _WIDE else SHORTEST].setdefault(form.content, form)
        self._tables = [
            table
            for width, of_width in by_width.items()
            if (table := _Table.of(list(of_width.values()), width, sample))
        ]

    def __len__(self) -> int:
        return len(self.texts)

    def find(self, content: bytes | memoryview, ends: NDArray[np.int64] | None = None) -> Iterator[Hit]:
        """Return every place at which a text stands and no longer id around it.

        Args:
            content: the searched bytes.
            ends: the ends of the values of which the bytes consist, in order; one value by default. A text
                that spans two values is no hit.
        """
        view = memoryview(content)
        for table in self._tables:
            for start, form in table.candidates(view):
                end, first, last = start + len(form.content), 0, len(view)
                if ends is not None:
                    row = int(np.searchsorted(ends, start, "right"))
                    first, last = int(ends[row - 1]) if row else 0, int(ends[row])
                alone = STANDS_ALONE[form.kind]
                if end <= last and alone(view[first:last], start - first, end - first, self.texts[form.text]):
                    yield Hit(start, end, form.text)


class _Table:
    """The windows of some forms, and the bits by which most windows of other bytes are ruled out."""

    def __init__(self, windows: Mapping[int, list[tuple[Form, int]]], width: int) -> None:
        self._windows = windows
        self._mask = np.uint64((1 << (8 * width)) - 1)
        self._width = width
        bits = min(24, max(16, (len(windows) * 64).bit_length()))
        self._shift = np.uint64(64 - bits)
        self._known = np.zeros(1 << bits, np.bool_)
        self._known[self._hashed(np.array(list(windows), np.uint64))] = True

    @classmethod
    def of(cls, forms: list[Form], width: int, sample: bytes) -> Self | None:
        """Return the table of forms, with the rarest window of each; None without forms."""
        if not forms:
            return None
        common = Counter(sample[at : at + width] for at in range(min(len(sample), _SAMPLE_BYTES) - width))
        shared = Counter(
            form.content[at : at + width] for form in forms for at in range(len(form.content) - width + 1)
        )
        windows: dict[int, list[tuple[Form, int]]] = {}
        for form in forms:
            places = range(len(form.content) - width + 1)
            parts = [form.content[at : at + width] for at in places]
            at = min(places, key=lambda at: (common[parts[at]] * 1000 + shared[parts[at]], -at))
            windows.setdefault(int.from_bytes(parts[at], "little"), []).append((form, at))
        return cls(windows, width)

    def candidates(self, view: memoryview) -> Iterator[tuple[int, Form]]:
        """Return the forms that stand in the bytes, each with its first byte."""
        for begin in range(0, max(len(view) - self._width + 1, 0), _CHUNK):
            part = bytes(view[begin : begin + _CHUNK + _WIDE - 1])
            if begin + len(part) == len(view):  # with zeros behind the end, its last windows are tested, too
                part += b"\0" * _WIDE
            for offset in range(_WIDE):
                windows = np.frombuffer(part, "<u8", (len(part) - offset) // _WIDE, offset)
                if self._width < _WIDE:
                    windows = windows & self._mask
                for at in np.flatnonzero(self._known.take(self._hashed(windows))):
                    yield from self._compared(view, begin + offset + int(at) * _WIDE, int(windows[at]))

    def _compared(self, view: memoryview, place: int, window: int) -> Iterator[tuple[int, Form]]:
        for form, at in self._windows.get(window, ()):
            start = place - at
            if start >= 0 and view[start : start + len(form.content)] == form.content:
                yield start, form

    def _hashed(self, windows: NDArray[np.uint64]) -> NDArray[np.int64]:
        hashed: NDArray[np.uint64] = windows * _MULTIPLIER
        hashed >>= self._shift
        return hashed.view(np.int64)

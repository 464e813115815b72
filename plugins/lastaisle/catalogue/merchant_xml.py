"""Read the XML feeds of Google Merchant Center (RSS 2.0 and Atom) as lines of JSON, in bounded memory.

The feed comes from outside. A document type declaration is refused, so no entity is expanded and no other
file is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final
from xml.parsers import expat

import pyarrow as pa

from lastaisle.errors import LastaisleError, SourceError
from lastaisle.ingest.reading.containers import Content, unpack
from lastaisle.ingest.reading.files import SourceFile
from lastaisle.ingest.reading.lines import LINES, MAX_LINE_BYTES, PAYLOAD_BYTES, describe

_GOOGLE: Final = "http://base.google.com/ns/1.0"
_ROOTS: Final = ("rss", "feed", "rdf")
_ITEMS: Final = ("item", "entry")
_ROWS_AT_ONCE: Final = 2_000
_MOST_DEPTH: Final = 50
_MOST_WAITING: Final = 8 << 20  # bytes of one tag that expat holds back until the tag ends
#: The errors of expat at the end of a file that was cut.
_CUT: Final = frozenset(
    expat.errors.codes[message]
    for message in (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
        expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    )
)
_MARKUP: Final = re.compile(rb"(\xef\xbb\xbf)?\s*<|\xff\xfe<\x00|\xfe\xff\x00<")


def is_xml(file: SourceFile) -> bool:
    """Tell whether the unpacked content of a file begins like XML.

    Raises:
        SourceError: the file cannot be opened.
    """
    try:
        with file.open() as stream:
            return bool(_MARKUP.match(unpack(stream)[0].head))
    except Exception as error:  # of the file system's library, or of the library that unpacks
        raise SourceError(f"cannot read {file.shown}: {describe(error)}") from error


def merchant_lines(file: SourceFile) -> Iterator[pa.RecordBatch]:
    """Yield the items of a feed as batches of LINES; source_row is the number of the item, from 1.

    An item is a JSON object with the local names of its direct children. A name of Google's namespace goes
    before the same name of RSS or Atom. Of a repeated name the first value counts. The end of a cut feed
    gives one row with the reason file_truncated.

    Raises:
        SourceError: the file cannot be read, is no feed, is no well-formed XML, or declares a document type.
    """
    try:
        with file.open() as stream:
            content, _ = unpack(stream)
            yield from _Feed(file.shown).read(content)
    except LastaisleError:
        raise
    except Exception as error:  # of the file system's library, or of the library that unpacks
        raise SourceError(f"cannot read {file.shown}: {describe(error)}") from error


class _Feed:
    """Collects the items of one feed while expat reads it."""

    def __init__(self, shown: str) -> None:
        self.shown = shown
        self.path: list[str] = []  # the open elements
        self.item_depth = 0  # the depth of the open item; 0 outside of an item
        self.values: dict[str, tuple[bool, str]] = {}  # by name: whether Google's, and the text
        self.text: list[str] = []
        self.size = 0  # characters of the open item
        self.number = 0
        self.rows: list[tuple[int, str, str | None]] = []
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters

    def read(self, content: Content) -> Iterator[pa.RecordBatch]:
        """Yield the items."""
        fed = 0
        for chunk in content:
            self._parse(chunk, last=False)
            fed += len(chunk)
            if fed - self.parser.CurrentByteIndex > _MOST_WAITING:
                raise SourceError(f"{self.shown}: a tag is longer than {_MOST_WAITING >> 20} MiB")
            while len(self.rows) >= _ROWS_AT_ONCE:
                yield self._batch(_ROWS_AT_ONCE)
        if content.broken:
            self._cut(content.broken)
        else:
            self._parse(b"", last=True)
        if self.rows:
            yield self._batch(len(self.rows))

    def _parse(self, data: bytes, *, last: bool) -> None:
        try:
            self.parser.Parse(data, last)
        except expat.ExpatError as error:
            if last and error.code in _CUT and self.path:
                self._cut("file_truncated")
                return
            raise SourceError(
                f"{self.shown} is no well-formed XML: {expat.ErrorString(error.code)} in line {error.lineno}"
                ". Fetch the feed again"
            ) from error

    def _cut(self, reason: str) -> None:
        self.number += 1
        self.rows.append((self.number, self._payload()[:PAYLOAD_BYTES], reason))

    def _batch(self, count: int) -> pa.RecordBatch:
        rows, self.rows = self.rows[:count], self.rows[count:]
        columns = zip(zip(*rows, strict=True), LINES, strict=True)
        return pa.RecordBatch.from_arrays(
            [pa.array(values, kind.type) for values, kind in columns], schema=LINES
        )

    def _refuse_doctype(self, name: str, *_: object) -> None:
        raise SourceError(
            f"{self.shown} declares a document type ({name}). A feed needs none, and its entities could grow "
            "without bound: remove the <!DOCTYPE>"
        )

    def _start(self, tag: str, _: object) -> None:
        name = tag.rpartition(" ")[2].lower()
        if not self.path and name not in _ROOTS:
            raise SourceError(
                f"{self.shown} is no Merchant feed: its first element is <{name}>, not <rss> or <feed>"
            )
        self.path.append(name)
        if len(self.path) > _MOST_DEPTH:
            raise SourceError(f"{self.shown}: its elements stand {len(self.path)} deep, which no feed needs")
        if not self.item_depth and name in _ITEMS:
            self.item_depth, self.values, self.size = len(self.path), {}, 0
        if len(self.path) == self.item_depth + 1:
            self.text = []

    def _characters(self, text: str) -> None:
        if self.item_depth and len(self.path) == self.item_depth + 1:
            self.size += len(text)
            if self.size <= MAX_LINE_BYTES:
                self.text.append(text)

    def _end(self, tag: str) -> None:
        space, _, local = tag.rpartition(" ")
        depth = len(self.path)
        self.path.pop()
        if self.item_depth and depth == self.item_depth + 1:
            self._keep(local.lower(), " ".join("".join(self.text).split()), google=space == _GOOGLE)
        elif depth == self.item_depth:
            self.item_depth = 0
            self.number += 1
            too_long = self.size > MAX_LINE_BYTES
            payload = self._payload()
            self.rows.append(
                (self.number, payload[:PAYLOAD_BYTES], "line_too_long")
                if too_long
                else (self.number, payload, None)
            )

    def _keep(self, name: str, text: str, *, google: bool) -> None:
        known = self.values.get(name)
        if known is None or (google and not known[0]):
            self.values[name] = (google, text)

    def _payload(self) -> str:
        return json.dumps({name: text for name, (_, text) in self.values.items()}, ensure_ascii=False)

"""The forms in which programs write an id, and whether a longer id stands around a place."""

from __future__ import annotations

import base64
import html
import json
import string
from collections.abc import Callable, Iterator, Mapping
from typing import Final
from urllib.parse import quote, quote_plus

TEXT: Final = "text"
HEX: Final = "hex"
UTF16: Final = "utf-16-le"
UTF32: Final = "utf-32-le"
#: A form that no longer id has, such as a pseudonym of 128 bits: every place counts.
WHOLE: Final = "whole"
BASE64: Final = ("base64-0", "base64-1", "base64-2")

_ALNUM: Final = frozenset((string.ascii_letters + string.digits).encode()) | frozenset(range(0x80, 0x100))
_JOINS: Final = frozenset(b"._-+@")
_HEX: Final = frozenset(string.hexdigits.encode())
_BASE64: Final = frozenset((string.ascii_letters + string.digits + "+/-_").encode())
_AROUND: Final = 12  # bytes of text on each side that are looked at
_STANDARD: Final = bytes.maketrans(b"-_", b"+/")
#: The characters of base64 before the first one that only bytes of the text decide, by the alignment.
_SKIPPED: Final = (0, 2, 3)


def forms_of_text(text: str) -> Iterator[tuple[str, bytes]]:
    """Return each form of an id with its kind: text, as JSON, URL, HTML; base64, hex, UTF-16, UTF-32."""
    written = {
        *(
            text,
            text.lower(),
            text.upper(),
            json.dumps(text)[1:-1],
            json.dumps(text)[1:-1].replace("/", "\\/"),
        ),
        *(quote(text, safe=""), quote(text, safe="@"), quote(text), quote_plus(text), html.escape(text)),
    }
    written |= {each.replace("%", "%25") for each in written if "%" in each and each != text}
    for each in sorted(written | {_lower_escapes(each) for each in written}):
        yield TEXT, each.encode(errors="surrogatepass")
    raw = text.encode(errors="surrogatepass")
    yield HEX, raw.hex().encode()
    yield HEX, raw.hex().upper().encode()
    yield from _base64_forms(raw)
    for encoding in (UTF16, UTF32):
        yield encoding, text.encode(encoding, errors="surrogatepass")


def forms_of_pseudonym(pseudonym: str) -> Iterator[tuple[str, bytes]]:
    """Return each form of a pseudonym, given as hex characters."""
    raw = bytes.fromhex(pseudonym)
    forms = {pseudonym.encode(), pseudonym.upper().encode(), raw, pseudonym.encode(UTF16)}
    forms |= {form for _, form in (*_base64_forms(raw), *_base64_forms(pseudonym.encode()))}
    for form in sorted(forms | {pseudonym.encode(UTF32)}):
        yield WHOLE, form


def _base64_forms(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Return the characters of base64 that the bytes decide alone, at each of three alignments."""
    for before, (kind, skipped) in enumerate(zip(BASE64, _SKIPPED, strict=True)):
        whole = 8 * (before + len(raw)) // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield kind, encode(b"\0" * before + raw)[skipped:whole]


def _lower_escapes(text: str) -> str:
    """Return a text with the escapes of URLs in lower case, as some programs write them."""
    parts = text.split("%")
    return "%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])


def _stands_alone(view: memoryview, start: int, end: int, text: str) -> bool:
    return _is_bounded(bytes(view[max(start - _AROUND, 0) : start]), bytes(view[end : end + _AROUND]), text)


def _is_bounded(before: bytes, after: bytes, text: str) -> bool:
    """Tell whether an id ends on both sides: anna@example.org does not stand in joanna@example.org."""
    return _ends_before(before) and _ends_after(after, "@" in text)


def _ends_before(before: bytes) -> bool:
    if not before or before[-1] not in _ALNUM | _JOINS:
        return True
    if len(before) > 2 and before[-3] in b"%" and _HEX.issuperset(before[-2:]):  # %3D
        return True
    if len(before) > 1 and before[-2] in b"\\" and before[-1] in b"nrtbf":
        return True
    if before[-6:-4] == b"\\u" and _HEX.issuperset(before[-4:]):
        return True
    return before[-1] in _JOINS and (len(before) == 1 or before[-2] not in _ALNUM)


def _ends_after(after: bytes, is_mail: bool) -> bool:
    if not after or after[0] not in _ALNUM | _JOINS:
        return True
    if is_mail and after[0] in b"_+@":  # no domain goes on with these
        return True
    return after[0] in _JOINS and (len(after) == 1 or after[1] not in _ALNUM)


def _hex_stands_alone(view: memoryview, start: int, end: int, text: str) -> bool:
    first = _reach(view, start, -2, _HEX)
    last = _reach(view, end, 2, _HEX)
    before, after = (bytes.fromhex(bytes(part).decode()) for part in (view[first:start], view[end:last]))
    return _is_bounded(before, after, text)


def _base64_stands_alone(alignment: int) -> Callable[[memoryview, int, int, str], bool]:
    skipped = _SKIPPED[alignment]

    def stands_alone(view: memoryview, start: int, end: int, text: str) -> bool:
        first = start - skipped
        if first < 0 or not _BASE64.issuperset(view[first:start]):
            return False
        first = _reach(view, first, -4, _BASE64)
        last = min(_reach(view, end, 1, _BASE64), end + 4 * _AROUND // 3)
        run = bytes(view[first:last]).translate(_STANDARD)
        decoded = base64.b64decode(run[: len(run) - (len(run) % 4 == 1)] + b"==", validate=False)
        at = (start - skipped - first) // 4 * 3 + alignment
        raw = text.encode(errors="surrogatepass")
        if decoded[at : at + len(raw)] != raw:
            return False
        return _is_bounded(decoded[max(at - _AROUND, 0) : at], decoded[at + len(raw) :], text)

    return stands_alone


def _reach(view: memoryview, place: int, step: int, allowed: frozenset[int]) -> int:
    """Return how far characters of a kind go on from a place, in whole steps, at most some bytes of text."""
    for _ in range(2 * _AROUND):
        part = view[place + step : place] if step < 0 else view[place : place + step]
        if place + step < 0 or len(part) < abs(step) or not allowed.issuperset(part):
            break
        place += step
    return place


def _wide_stands_alone(encoding: str, width: int) -> Callable[[memoryview, int, int, str], bool]:
    def stands_alone(view: memoryview, start: int, end: int, text: str) -> bool:
        first = start - min(start // width, _AROUND) * width
        # Bytes that are no text of this encoding look like letters of far alphabets, which end an id.
        before, after = (
            bytes(part).decode(encoding, "replace").encode("ascii", errors="replace")
            for part in (view[first:start], view[end : end + _AROUND * width])
        )
        return _is_bounded(before, after, text)

    return stands_alone


#: For each kind of form: whether the text stands alone at a place of the bytes.
STANDS_ALONE: Final[Mapping[str, Callable[[memoryview, int, int, str], bool]]] = {
    TEXT: _stands_alone,
    HEX: _hex_stands_alone,
    UTF16: _wide_stands_alone(UTF16, 2),
    UTF32: _wide_stands_alone(UTF32, 4),
    WHOLE: lambda view, start, end, text: True,
    **{kind: _base64_stands_alone(number) for number, kind in enumerate(BASE64)},
}

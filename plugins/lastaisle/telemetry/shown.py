"""Show values in logs and messages: names in one line, addresses without passwords, moments in UTC."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import Final

#: Control characters (an escape sequence moves the cursor of a terminal), the line ends of Unicode, and
#: halves of characters.
_UNSAFE_CATEGORIES: Final = frozenset({"Cc", "Zl", "Zp", "Cs"})
#: The marks that turn the direction of the text after them, so that a name reads as another.
_DIRECTIONS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

#: How names of columns and fields are written. An address, a telephone or a sentence is written otherwise.
_NAME: Final = re.compile(r"[A-Za-z_$][A-Za-z_0-9.$-]{0,39}")
#: The user and the password of a URL; a password may hold @ and :, up to the last @ before the path.
_PASSWORD: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^/?#\s:@]*:)[^/?#\s]+@")


def one_line(text: str) -> str:
    r"""Return a text with escapes such as \n for the characters that would begin a line or hide a name.

    A file of the name "a\nERROR fake.jsonl" would otherwise write a line of its own into the log. All other
    characters stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character in _DIRECTIONS or unicodedata.category(character) in _UNSAFE_CATEGORIES:
        return character.encode("unicode_escape").decode("ascii")
    return character


def reads_like_name(text: str) -> bool:
    """Tell whether a text that a sender used as a name reads like one; others may hold data of a shopper."""
    return _NAME.fullmatch(text) is not None


def without_password(address: str) -> str:
    """Return a URL in which *** stands for the password; a URL without a password, or a path, stays.

    This also holds for an address that is no URL, such as `http://anna:secret@[shop/`.
    """
    return _PASSWORD.sub(r"\1***@", address)


def utc(moment: datetime) -> str:
    """Return a moment to the minute: 2026-11-24 10:05 UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"

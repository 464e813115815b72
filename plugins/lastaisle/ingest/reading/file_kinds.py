"""Recognize, by its first bytes, a file that holds no lines of text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

HEAD_BYTES = 1 << 16  # how many of the first bytes are looked at

_UNPACK = "unpack it"
_CONVERT = "convert it to Parquet or to lines of text"
_FETCH = "fetch the file itself"

#: The first bytes of each kind, its name, and what to do with such a file.
_SIGNATURES: Final[Mapping[bytes, tuple[str, str]]] = {
    b"PK\x03\x04": ("a zip archive, or a file made of one such as .xlsx", _UNPACK),
    b"PK\x05\x06": ("an empty zip archive", _UNPACK),
    b"PK\x07\x08": ("a zip archive in parts", _UNPACK),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", _UNPACK),
    b"Rar!\x1a\x07": ("a RAR archive", _UNPACK),
    b"!<arch>\n": ("an ar archive", _UNPACK),
    b"\x04\x22\x4d\x18": ("lz4 data", "unpack it (lz4 -d), or use gzip or zstd"),
    b"\x02\x21\x4c\x18": ("lz4 data of the old format", "unpack it (lz4 -d), or use gzip or zstd"),
    b"\xff\x06\x00\x00sNaPpY": ("snappy data", "unpack it, or use gzip or zstd"),
    b"\x89LZO\x00\r\n\x1a\n": ("lzo data", "unpack it (lzop -d), or use gzip or zstd"),
    b"LZIP\x01": ("lzip data", "unpack it (lzip -d), or use gzip or zstd"),
    b"\x1f\x9d": ("data of compress (.Z)", "unpack it (uncompress), or use gzip or zstd"),
    b"PARE": ("an encrypted Parquet file", "write it without encryption"),
    b"Obj\x01": ("an Avro file", _CONVERT),
    b"ARROW1\x00\x00": ("an Arrow file", _CONVERT),
    b"FEA1": ("a Feather file", _CONVERT),
    b"SEQ\x06": ("a Hadoop SequenceFile", _CONVERT),
    b"RCF\x01": ("a Hadoop RCFile", _CONVERT),
    b"\x89HDF\r\n\x1a\n": ("an HDF5 file", _CONVERT),
    b"SQLite format 3\x00": ("an SQLite database", _CONVERT),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an old Office file such as .xls", _CONVERT),
    b"%PDF-": ("a PDF document", _CONVERT),
    b"\x89PNG\r\n\x1a\n": ("a picture", "remove it"),
    b"\x7fELF": ("a program", "remove it"),
    b"-----BEGIN PGP MESSAGE": ("a message encrypted by PGP", "decrypt it"),
    b"age-encryption.org/": ("a file encrypted by age", "decrypt it"),
    b"Salted__": ("a file encrypted by OpenSSL", "decrypt it"),
    b"version https://git-lfs": ("a pointer of Git LFS", _FETCH),
}
_BOM = b"\xef\xbb\xbf"
_MARKUP = re.compile(rb"\s*<(\?xml|!doctype|html)\b", re.IGNORECASE)
_ARRAY = re.compile(rb"\s*\[\s*\{")
_WIDE_MARKS: Final[Mapping[bytes, str]] = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
#: Where the zero bytes of plain letters stand, by the position in a group of four bytes.
_WIDE_LETTERS: Final[Mapping[tuple[bool, ...], str]] = {
    (False, True, False, True): "UTF-16LE",
    (True, False, True, False): "UTF-16BE",
    (False, True, True, True): "UTF-32LE",
    (True, True, True, False): "UTF-32BE",
}


def name_unreadable_kind(head: bytes) -> str | None:
    """Say what a file is that holds no lines of UTF-8, and what to do; None if it may hold lines.

    Args:
        head: the first bytes of the file, at most HEAD_BYTES.
    """
    for signature, (kind, advice) in _SIGNATURES.items():
        if head.startswith(signature):
            return f"is {kind}: {advice}"
    text = head.removeprefix(_BOM)
    wide = _wide_text(head)
    kinds = {
        f"is a tar archive: {_UNPACK}": _is_tar(head),
        f"is an ORC file: {_CONVERT}": _is_orc(head),
        f"is {wide} text: convert it (iconv -f {wide} -t UTF-8)": bool(wide),
        "is an HTML or XML document, perhaps an error page: fetch the file again": bool(_MARKUP.match(text)),
        "is one JSON array: write one object a line (jq -c '.[]')": _is_array(text),
    }
    return next((kind for kind, is_it in kinds.items() if is_it), None)


def _is_tar(head: bytes) -> bool:
    """Tell whether the check sum of a tar header is right: the sum of its bytes, itself taken as blanks."""
    if len(head) < 512:
        return False
    stated = head[148:156].strip(b" \x00")
    if not re.fullmatch(rb"[0-7]{1,7}", stated):
        return False
    return sum(head[:148]) + sum(head[156:512]) + 8 * 32 == int(stated, 8)


def _is_orc(head: bytes) -> bool:
    """Tell whether these are the first bytes of an ORC file: three letters, and no text after them."""
    return head.startswith(b"ORC") and any(byte < 9 or byte > 126 for byte in head[3:64])


def _wide_text(head: bytes) -> str | None:
    """Return the name of a coding in which each letter takes two or four bytes; None for any other text."""
    for mark, name in _WIDE_MARKS.items():
        if head.startswith(mark):
            return name
    if len(head) < 8:  # a few bytes do not show it
        return None
    zeros = [byte == 0 for byte in head[:16]]
    groups = {tuple(zeros[at : at + 4]) for at in range(0, len(zeros) - 3, 4)}
    return _WIDE_LETTERS.get(groups.pop()) if len(groups) == 1 else None


def _is_array(text: bytes) -> bool:
    """Tell whether a text is one JSON array of objects, and not lines of which the first is a list."""
    if not _ARRAY.match(text):
        return False
    first, *others = re.split(rb"[\r\n]+", text.strip(), maxsplit=1)
    return not (others and first.endswith(b"]"))

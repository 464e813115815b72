"""A filter: a small expression over the catalogue, such as `category == 'shoes' and price < 50`.

A filter is read by Python's own parser. Then only these parts are allowed: the names of fields; texts,
numbers, true, false and null; == != < <= > >=; `in` and `not in` with a list; and, or, not; parentheses. No
part of a filter is ever executed as Python.

A missing value equals nothing and lies in no list. So only `!=`, `not in` and `== null` are true of it.
"""

from __future__ import annotations

import ast
import difflib
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import reduce
from typing import Any, Final, TypeGuard

import numpy as np
import pyarrow as pa

from lastaisle.serve.shown.masks import Kind, Mask, Test, compare_with, is_missing, lies_in, negate

MAX_LENGTH: Final = 2000  # characters of a filter
MAX_DEPTH: Final = 20  # parts inside parts
MAX_VALUES: Final = 500  # values of one list
MAX_SHOWN: Final = 40  # characters of the filter in an error

_WORDS: Final[Mapping[str, bool | None]] = {"true": True, "false": False, "null": None}
_SIGNS: Final[Mapping[type, str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}
_TURNED: Final[Mapping[str, str]] = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_EXAMPLES: Final[Mapping[Kind, str]] = {
    "text": "a text such as 'shoes'",
    "number": "a number such as 50",
    "flag": "true or false",
    "time": "a time such as '2026-12-01T00:00:00Z'",
}
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_HINTS: Final = (
    (re.compile(r"&+"), "write and"),
    (re.compile(r"\|+"), "write or"),
    (re.compile(r"!(?!=)"), "write not"),
    (re.compile(r"<>"), "write !="),
    (re.compile(r"(?<![=!<>])=(?!=)"), "write == to compare"),
    (re.compile(r"\b(AND|OR|NOT|IN)\b"), "write and, or, not and in with small letters"),
)


class FilterError(ValueError):
    """A filter that has no meaning.

    Attributes:
        position: the character at which the filter is wrong, from 1.
        reason: what is wrong there.
    """

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"the filter is wrong at character {position}: {reason}")
        self.position = position
        self.reason = reason


@dataclass(frozen=True)
class Filter:
    """A filter that was checked against the fields of a catalogue.

    Attributes:
        text: the expression.
    """

    text: str
    _test: Test = field(repr=False, compare=False)

    def rows(self, items: pa.Table) -> Mask:
        """Return of which rows the filter is true: bool [rows].

        Args:
            items: a table with the fields that the filter was checked against.
        """
        return self._test(items)


def read_filter(text: str, fields: Mapping[str, Kind]) -> Filter:
    """Read a filter, and check it against the fields of a catalogue.

    Args:
        text: the expression.
        fields: the fields that it may name, with the kind of their values.

    Raises:
        FilterError: the text is no filter; it names an unknown field; a value is of another kind than its
            field; or the text is longer, deeper or has a longer list than allowed.
    """
    if len(text) > MAX_LENGTH:
        raise FilterError(
            MAX_LENGTH + 1, f"a filter has at most {MAX_LENGTH} characters, this has {len(text)}"
        )
    return Filter(text, _Reader(text, fields).read())


class _Reader:
    """Reads one filter: it walks the tree that Python's parser made, and allows only what it knows."""

    def __init__(self, text: str, fields: Mapping[str, Kind]) -> None:
        self._text = re.sub(r"[\t\r\n]", " ", text)
        self._indent = len(self._text) - len(self._text.lstrip(" "))
        self._code = self._text.strip(" ")
        self._bytes = self._code.encode("utf-8", "replace")
        self._fields = fields

    def read(self) -> Test:
        """Return the test that the filter stands for."""
        if not self._code:
            raise FilterError(1, "it is empty; leave the filter out where nothing is to be filtered")
        for position, sign in enumerate(self._text, start=1):
            if sign == "\\" or unicodedata.category(sign) in ("Cc", "Cs"):
                raise FilterError(position, f"{sign!r} is not allowed in a filter")
        try:
            tree = ast.parse(self._code, mode="eval").body
        except SyntaxError as error:
            raise self._unreadable(error.offset or len(self._code) + 1) from None
        except (MemoryError, RecursionError, ValueError):
            raise FilterError(1, f"it is nested deeper than {MAX_DEPTH} levels") from None
        after = self._bytes[tree.end_col_offset or 0 :].decode("utf-8")
        if "#" in after:
            comment = len(self._code) - len(after) + after.index("#")
            raise FilterError(self._indent + comment + 1, "# is not allowed; a filter has no comments")
        return self._test(tree, 1)

    def _test(self, node: ast.expr, depth: int) -> Test:
        if depth > MAX_DEPTH:
            raise self._wrong(node, f"it is nested deeper than {MAX_DEPTH} levels")
        if isinstance(node, ast.BoolOp):
            tests = [self._test(part, depth + 1) for part in node.values]
            join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return lambda items: reduce(join, (test(items) for test in tests))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return negate(self._test(node.operand, depth + 1))
        if isinstance(node, ast.Compare):
            return self._comparisons(node)
        if isinstance(value := self._constant(node), bool):
            return lambda items: np.full(len(items), value)
        if isinstance(node, ast.Name):
            name, kind = self._field(node)
            if kind != "flag":
                raise self._wrong(node, f"compare {name} with {_EXAMPLES[kind]}")
            return compare_with(name, "==", True)
        raise self._wrong(node, "expected a comparison such as price < 50")

    def _comparisons(self, node: ast.Compare) -> Test:
        """Read a comparison, or a chain of comparisons such as 10 <= price < 50."""
        sides = [node.left, *node.comparators]
        tests = [
            self._one_comparison(left, operator, right)
            for left, operator, right in zip(sides, node.ops, sides[1:], strict=False)
        ]
        return lambda items: reduce(np.logical_and, (test(items) for test in tests))

    def _one_comparison(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> Test:
        sign = _SIGNS.get(type(operator))
        if sign is None:
            raise self._wrong(right, "is does not compare here; write == null or != null")
        if self._names_field(right) and not self._names_field(left) and sign in _TURNED:
            left, right, sign = right, left, _TURNED[sign]
        if not self._names_field(left):
            raise self._wrong(left, "expected the name of a field on one side of a comparison")
        if self._names_field(right):
            raise self._wrong(right, "a field is compared with a value, not with another field")
        name, kind = self._field(left)
        if sign in ("in", "not in"):
            test = lies_in(name, self._list(right, kind, name))
            return test if sign == "in" else negate(test)
        value = self._value(right, kind, name)
        if (value is None or kind == "flag") and sign not in ("==", "!="):
            raise self._wrong(
                right, f"{'null' if value is None else name} is compared by == or !=, received {sign}"
            )
        if value is None:
            return is_missing(name) if sign == "==" else negate(is_missing(name))
        return compare_with(name, sign, value)

    def _names_field(self, node: ast.expr) -> TypeGuard[ast.Name]:
        return isinstance(node, ast.Name) and node.id not in _WORDS

    def _field(self, node: ast.Name) -> tuple[str, Kind]:
        kind = self._fields.get(node.id)
        if kind is None:
            close = difflib.get_close_matches(node.id.lower(), self._fields, 1)
            hint = f"do you mean {close[0]}?" if close else f"the fields are {', '.join(self._fields)}"
            raise self._wrong(node, f"the catalogue has no field {_shorten(node.id)}; {hint}")
        return node.id, kind

    def _list(self, node: ast.expr, kind: Kind, name: str) -> list[Any]:
        if not isinstance(node, ast.List | ast.Tuple):
            raise self._wrong(
                node, f"expected a list after in, such as {name} in [{_EXAMPLES[kind].split()[-1]}]"
            )
        if len(node.elts) > MAX_VALUES:
            raise self._wrong(node, f"a list has at most {MAX_VALUES} values, this has {len(node.elts)}")
        values = [self._value(element, kind, name) for element in node.elts]
        if None in values:
            raise self._wrong(node.elts[values.index(None)], f"null is in no list; write {name} == null")
        return values

    def _value(self, node: ast.expr, kind: Kind, name: str) -> Any:
        """Return a value that fits a field; None for null."""
        value = self._constant(node)
        if value is None and not self._is_null(node):
            raise self._wrong(node, f"expected {_EXAMPLES[kind]}")
        if kind == "time" and isinstance(value, str):
            return self._time(node, value)
        fits = {"text": str, "number": float, "flag": bool, "time": str}[kind]
        if value is not None and not isinstance(value, fits):
            raise self._wrong(
                node, f"{name} is compared with {_EXAMPLES[kind]}, received {self._shown(node)}"
            )
        return value

    def _constant(self, node: ast.expr) -> str | float | bool | None:
        """Return the text, number, truth value or null that stands here; None for anything else, too."""
        if isinstance(node, ast.Name):
            return _WORDS.get(node.id)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            number = self._constant(node.operand) if isinstance(node.operand, ast.Constant) else None
            if isinstance(number, float):
                return -number if isinstance(node.op, ast.USub) else number
        if not isinstance(node, ast.Constant) or isinstance(node.value, bytes | complex):
            return None
        if isinstance(node.value, str):
            shown = self._bytes[node.col_offset : node.end_col_offset].decode("utf-8")
            if shown[0] not in "'\"" or shown[0] != shown[-1] or shown[1:-1] != node.value:
                raise self._wrong(
                    node, "a text stands between two ' or two \"; a comma stands between two texts"
                )
            return node.value
        if isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return self._number(node, node.value)
        return node.value if isinstance(node.value, bool) else None

    def _number(self, node: ast.expr, number: float) -> float:
        try:
            number = float(number)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self._wrong(node, "the number is too large")
        return number

    def _time(self, node: ast.expr, text: str) -> datetime:
        try:
            moment = datetime.fromisoformat(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            reason = f"expected {_EXAMPLES['time']}, received {_shorten(repr(text))}"
            raise self._wrong(node, reason) from None

    def _is_null(self, node: ast.expr) -> bool:
        return (isinstance(node, ast.Constant) and node.value is None) or (
            isinstance(node, ast.Name) and node.id == "null"
        )

    def _shown(self, node: ast.expr) -> str:
        return _shorten(self._bytes[node.col_offset : node.end_col_offset].decode("utf-8"))

    def _wrong(self, node: ast.expr, reason: str) -> FilterError:
        before = self._bytes[: node.col_offset].decode("utf-8")
        return FilterError(self._indent + len(before) + 1, reason)

    def _unreadable(self, offset: int) -> FilterError:
        """Return the error of a text that Python's parser refused; it names signs of other languages."""
        bare = _QUOTED.sub(lambda match: " " * len(match.group()), self._code)
        for pattern, hint in _HINTS:
            if match := pattern.search(bare):
                return FilterError(self._indent + match.start() + 1, f"{match.group()} is not known; {hint}")
        position = self._indent + min(max(offset, 1), len(self._code) + 1)
        rest = self._text[position - 1 :].strip()
        return FilterError(
            position, f"{_shorten(rest)} cannot be read here" if rest else "the filter ends too early"
        )


def _shorten(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"

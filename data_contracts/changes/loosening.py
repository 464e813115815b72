"""Tell whether one rule accepts every row that another rule accepted."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from data_contracts.rules import Rule

_NOT_NULL = "expect_column_values_to_not_be_null"


def is_looser(old: Rule, new: Rule) -> bool:
    """Tell whether every row that passed the old rule is known to pass the new one.

    The function compares the Great Expectations configurations of both rules, which are data and not text. If
    nothing can be proven, as for two regular expressions, the answer is no.
    """
    before, after = old.expectation, new.expectation
    limits, empty = _conditions(before)
    new_limits, new_empty = _conditions(after)
    narrower = all(new_limits.get(column, {None}) <= values for column, values in limits.items())
    if before["type"] != after["type"] or not narrower:
        return False
    given, now = before["kwargs"], after["kwargs"]
    if before["type"] == _NOT_NULL:  # one of several columns suffices; the others are in the conditions
        return empty | {given["column"]} <= new_empty | {now["column"]}
    same_rows = empty == new_empty and given.get("column") == now.get("column")
    return same_rows and _COMPARISONS.get(before["type"], _is_same)(given, now)


def _conditions(expectation: dict[str, Any]) -> tuple[dict[str, set[Any]], set[str]]:
    """Return the values of columns to which a rule is limited, and the columns that must be empty."""
    condition = expectation.get("row_condition") or {"type": "and", "conditions": []}
    parts = condition["conditions"] if condition["type"] == "and" else [condition]
    limits = {
        part["column"]["name"]: set(part["parameter"]) for part in parts if part["type"] == "comparison"
    }
    return limits, {part["column"]["name"] for part in parts if part["type"] == "nullity"}


def _range_is_wider(old: dict[str, Any], new: dict[str, Any]) -> bool:
    for side, sign in (("min", 1), ("max", -1)):
        bound = new.get(f"{side}_value")
        if bound is None:
            continue
        if old.get(f"{side}_value") is None:
            return False
        before, after = _ordered(old[f"{side}_value"]), _ordered(bound)
        if not isinstance(before, int | float) and type(before) is not type(after):
            return False
        inner = after > before if sign > 0 else after < before
        if inner or (after == before and new.get(f"strict_{side}") and not old.get(f"strict_{side}")):
            return False
    return True


def _ordered(bound: Any) -> Any:
    """Return a bound in a form that can be compared: a moment, a number, or a tuple of seconds from now."""
    if isinstance(bound, dict):
        match = re.fullmatch(r"now_(plus|minus)_([0-9]+)s", bound["$PARAMETER"])
        return (int(match[2]) * (1 if match[1] == "plus" else -1),) if match else (bound["$PARAMETER"],)
    if isinstance(bound, str):
        return datetime.fromisoformat(bound) if "T" in bound else date.fromisoformat(bound)
    return bound


def _pair_is_looser(old: dict[str, Any], new: dict[str, Any]) -> bool:
    if (old["column_A"], old["column_B"]) != (new["column_A"], new["column_B"]):
        return False
    if old["operator"][0] != new["operator"][0] or new["tolerance_seconds"] < old["tolerance_seconds"]:
        return False
    stricter = len(new["operator"]) < len(old["operator"])
    return not stricter or bool(new["tolerance_seconds"] > old["tolerance_seconds"])


def _set_is_larger(old: dict[str, Any], new: dict[str, Any]) -> bool:
    before, after = old["value_set"], new["value_set"]
    if isinstance(before, list) and isinstance(after, list):
        return set(before) <= set(after)
    return bool(before == after)  # the values of another table


def _multiples_are_more(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Tell whether the new factor divides the old factor; fractions are compared by their quotient."""
    before, after = old["multiple_of"], new["multiple_of"]
    if isinstance(before, int) and isinstance(after, int):
        return before % after == 0
    times = float(before / after)
    return abs(times - round(times)) <= 1e-12 * max(1.0, times)


def _is_same(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return old == new


_COMPARISONS: dict[str, Callable[[dict[str, Any], dict[str, Any]], bool]] = {
    "expect_column_values_to_be_between": _range_is_wider,
    "expect_column_integers_to_be_between": _range_is_wider,
    "expect_column_values_to_be_multiples": _multiples_are_more,
    "expect_column_value_lengths_to_be_between": _range_is_wider,
    "expect_column_values_to_be_in_set": _set_is_larger,
    "expect_column_pair_values_to_compare": _pair_is_looser,
}

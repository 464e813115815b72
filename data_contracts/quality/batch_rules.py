"""Rules about a batch as a whole: a number that DuckDB measures over its sound rows, and the limits of it.

The sound rows of a batch are the rows that break no rule of a row. A rule of severity error refuses the whole
batch before it is committed. A warning is only reported.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from open_data_contract_standard.model import DataQuality

from data_contracts.privacy import quote
from data_contracts.rules import Severity

#: The operators of ODCS. Between includes both ends, as its notation [0, 100] in the standard says.
_LOW = ("mustBeGreaterThan", "mustBeGreaterOrEqualTo")
_HIGH = ("mustBeLessThan", "mustBeLessOrEqualTo")
OPERATORS = ("mustBe", "mustNotBe", *_LOW, *_HIGH, "mustBeBetween", "mustNotBeBetween")


@dataclass(frozen=True)
class Limits:
    """The numbers that a batch rule accepts.

    Attributes:
        minimum: the smallest number, or None.
        maximum: the largest number, or None.
        strict_minimum: whether the minimum itself is refused.
        strict_maximum: whether the maximum itself is refused.
        outside: whether the numbers between minimum and maximum are refused, and all others accepted.
    """

    minimum: float | None = None
    maximum: float | None = None
    strict_minimum: bool = False
    strict_maximum: bool = False
    outside: bool = False

    def accept(self, number: float) -> bool:
        """Tell whether the limits accept a number."""
        above = self.minimum is None or (
            number > self.minimum if self.strict_minimum else number >= self.minimum
        )
        below = self.maximum is None or (
            number < self.maximum if self.strict_maximum else number <= self.maximum
        )
        return (above and below) is not self.outside

    def __str__(self) -> str:
        """Say which numbers are accepted."""
        if self.minimum is not None and self.minimum == self.maximum:
            return f"{'not ' if self.outside else ''}{self.minimum:g}"
        if self.minimum is not None and self.maximum is not None:
            return f"{'not ' if self.outside else ''}between {self.minimum:g} and {self.maximum:g}"
        if self.minimum is not None:
            return f"{'more than' if self.strict_minimum else 'at least'} {self.minimum:g}"
        if self.maximum is not None:
            return f"{'less than' if self.strict_maximum else 'at most'} {self.maximum:g}"
        return "any number"


@dataclass(frozen=True)
class BatchRule:
    """One rule that a batch must satisfy as a whole.

    Attributes:
        name: the name of the rule.
        columns: the fields that the rule reads; a query may read further fields.
        measure: DuckDB SQL that measures one number: an aggregate over the sound rows of the batch, or, if
            `is_query`, a whole SELECT that reads them from a relation with the name of the table.
        limits: the accepted numbers.
        description: the rule in words.
        severity: an error refuses the batch, a warning is only reported.
        is_query: whether the measure is a SELECT of the contract's author (`type: sql`).
        expectation: the Great Expectations configuration that the rule came from, or None.
    """

    name: str
    columns: tuple[str, ...]
    measure: str
    limits: Limits
    description: str
    severity: Severity
    is_query: bool = False
    expectation: dict[str, Any] | None = field(default=None)

    def problem(self, measured: Any, rows: int) -> str | None:
        """Return the reason why a batch breaks the rule; None if it satisfies the rule.

        Args:
            measured: the value of the measure.
            rows: the number of sound rows. A batch without rows breaks no rule for the reason that nothing
                can be measured.
        """
        number = _number(measured)
        if number is None:
            return None if measured is None and not rows else f"{self.name}: {measured!r} is no number"
        if self.limits.accept(number):
            return None
        return f"{self.name}: measured {number:g}, should be {self.limits}"


def parse_limits(quality: DataQuality, *, booleans: bool = False) -> tuple[str, Limits]:
    """Return the operator of a quality entry and its limits.

    Args:
        quality: the entry.
        booleans: whether the entry may measure true or false, which count as 1 and 0.

    Raises:
        ValueError: the entry has no operator, several, or one without a number.
    """
    given = {name: getattr(quality, name) for name in OPERATORS if getattr(quality, name) is not None}
    if len(given) != 1:
        raise ValueError(f"takes one of {', '.join(OPERATORS)}; received {', '.join(given) or 'none'}")
    operator, bound = next(iter(given.items()))
    low, high = bound if operator.endswith("Between") and isinstance(bound, list) else (bound, bound)
    if _number(low) is None or _number(high) is None or (isinstance(low, bool) and not booleans):
        raise ValueError(f"{operator} takes numbers, received {bound!r}")
    if operator in _LOW:
        return operator, Limits(minimum=low, strict_minimum=operator == _LOW[0])
    if operator in _HIGH:
        return operator, Limits(maximum=high, strict_maximum=operator == _HIGH[0])
    if low > high:
        raise ValueError(f"{operator} takes the smaller number first, received {bound!r}")
    return operator, Limits(low, high, outside="Not" in operator)


def repeated_sql(names: Sequence[str], *, incomplete: bool = False) -> str:
    """Return SQL that counts the rows whose tuple of values stood in another row before.

    Args:
        names: the fields of the tuple.
        incomplete: whether tuples without some of their values count; tuples without any value never do.
    """
    columns = ", ".join(quote(name) for name in names)
    present = (" OR " if incomplete else " AND ").join(f"{quote(name)} IS NOT NULL" for name in names)
    return f"(count(*) FILTER ({present}) - count(DISTINCT row({columns})) FILTER ({present}))"


def _number(value: Any) -> float | None:
    if not isinstance(value, bool | int | float | Decimal):
        return None
    number = float(value)
    return None if math.isnan(number) else number

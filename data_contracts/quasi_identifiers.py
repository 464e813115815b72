"""The quasi-identifiers: columns that together single out a shopper, and how they become coarser.

A contract lists them under the custom property `quasiIdentifiers`:

    customProperties:
      - property: quasiIdentifiers
        value:
          within: {occurred_at: hour}
          steps:
            - [device_type, country, region]
            - [device_type, country]
            - [device_type]

`within` names a time and its unit: rows of one hour form the groups. The first step names all
quasi-identifiers. Each later step keeps fewer of them. After the last step none is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from open_data_contract_standard.model import OpenDataContractStandard

from data_contracts.document import custom_values
from data_contracts.errors import Problems, UnknownFieldError
from data_contracts.field import Field

#: The units of a time, in seconds. The unit starts anew in UTC.
UNITS: Final = {"minute": 60, "hour": 3600, "day": 86400}
_KEYS: Final = {"within", "steps"}


@dataclass(frozen=True)
class QuasiIdentifiers:
    """The quasi-identifiers of a table.

    Attributes:
        time: the column of the time.
        unit: rows whose times lie in the same minute, hour or day form the groups.
        steps: the columns that are kept at each step; the first step keeps all.
    """

    time: str
    unit: str
    steps: tuple[tuple[str, ...], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All quasi-identifiers."""
        return self.steps[0]

    def unit_sql(self, time: str) -> str:
        """Return DuckDB SQL of the number of the unit in which a time lies, in UTC."""
        return f"(epoch_us({time}) // {UNITS[self.unit] * 1_000_000})"

    def last_step(self, column: str) -> int:
        """Return the last step that keeps a column."""
        return max(step for step, kept in enumerate(self.steps) if column in kept)


def compile_quasi_identifiers(
    problems: Problems, document: OpenDataContractStandard, fields: Sequence[Field]
) -> QuasiIdentifiers | None:
    """Compile the quasi-identifiers of a contract; None if it names none.

    Args:
        problems: collects what cannot be compiled.
        document: the contract.
        fields: the fields of the table.
    """
    given = custom_values(document.customProperties).get("quasiIdentifiers")
    if given is None:
        return None
    with problems.at("customProperties.quasiIdentifiers"):
        return _read(given, {field.name: field for field in fields})
    return None


def _read(given: Any, fields: dict[str, Field]) -> QuasiIdentifiers:
    if not isinstance(given, dict) or set(given) != _KEYS:
        raise ValueError(f"should be a mapping with within and steps, received {given!r}")
    within, steps = given["within"], given["steps"]
    if not isinstance(within, dict) or len(within) != 1 or next(iter(within.values())) not in UNITS:
        units = ", ".join(UNITS)
        raise ValueError(f"within should name one time and its unit ({units}), received {within!r}")
    ((time, unit),) = within.items()
    if not isinstance(steps, list) or not steps or not all(map(_is_step, steps)):
        raise ValueError(f"steps should be a list of lists of fields, received {steps!r}")
    for before, after in pairwise(steps):
        if not set(after) < set(before):
            raise ValueError(f"each step should keep fewer of the fields, received {before} and then {after}")
    for name in (time, *steps[0]):
        if name not in fields:
            raise UnknownFieldError(name, fields)
    if fields[time].logical_type != "timestamp":
        raise ValueError(f"within: {time} is a {fields[time].logical_type}, and should be a timestamp")
    for name in steps[0]:
        field = fields[name]
        if field.treatment.action not in ("keep", "coarsen") or field.required or field.default is not None:
            raise ValueError(
                f"steps: {name} cannot be left out: a quasi-identifier is kept or coarsened by its "
                "treatment, and is neither required nor has a default"
            )
    return QuasiIdentifiers(str(time), str(unit), tuple(tuple(map(str, one)) for one in steps))


def _is_step(given: Any) -> bool:
    return isinstance(given, list) and bool(given) and all(isinstance(name, str) for name in given)

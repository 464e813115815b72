"""How long the rows of each table stay, for which purposes and on which legal basis.

A contract states it in its `slaProperties`, as the Open Data Contract Standard names agreements of service:

    slaProperties:
      - property: retention
        element: events.batch_id           # the table, and the column from which the age of a row follows
        value: 400                         # null keeps the rows for ever, and the description says why
        unit: d                            # d, day or days; y, yr, year or years
        description: As long as raw_events.
        customProperties:
          - {property: purposes, value: [analytics]}
          - {property: legalBasis, value: consent}
          - {property: holds, value: pseudonyms}          # one of HOLDS
          - {property: ageOf, value: batches.started_at}  # optional: the time of the row with this batch_id
          - {property: gone, value: expired}              # optional: no such row means that the row expired
          - {property: replacedBy, value: [user_id]}      # optional: only replaced rows expire

Tables without a contract of their own stand together in derived/derived_tables.odcs.yaml.

    >>> retention_of("raw_events").days
    400
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from open_data_contract_standard.model import OpenDataContractStandard, ServiceLevelAgreementProperty

from data_contracts.document import PACKAGED, custom_values, packaged_tables, read_document
from data_contracts.errors import ContractError

DERIVED: Final = PACKAGED / "derived" / "derived_tables.odcs.yaml"
#: What the rows of a table may hold, the most sensitive first.
HOLDS: Final = ("raw identifiers", "pseudonyms", "names of staff", "nothing personal")
_DAYS_IN: Final = {
    **dict.fromkeys(("d", "day", "days"), 1),
    **dict.fromkeys(("y", "yr", "year", "years"), 365),
}
_NEEDED: Final = ("purposes", "legalBasis", "holds")
_KNOWN: Final = (*_NEEDED, "ageOf", "gone", "replacedBy")


@dataclass(frozen=True)
class Retention:
    """How long the rows of one table stay.

    Attributes:
        table: the name of the table.
        days: the days after which a row expires; None for ever.
        column: the column from which the age of a row follows.
        age_of: the table and the column whose time is the age of the row with the same `column`; None if
            `column` is a time itself.
        gone_expired: whether a row expires when the table of `age_of` no longer holds its row.
        replaced_by: a row expires only if a newer row has the same values in these columns, and all of them
            are there; without columns, every row expires.
        purposes: what the rows serve.
        legal_basis: why the rows may be kept.
        holds: one of HOLDS.
        reason: why this long.
    """

    table: str
    days: int | None
    column: str
    age_of: tuple[str, str] | None
    gone_expired: bool
    replaced_by: tuple[str, ...]
    purposes: tuple[str, ...]
    legal_basis: str
    holds: str
    reason: str

    @property
    def is_personal(self) -> bool:
        """Whether the rows hold data of shoppers."""
        return self.holds in ("raw identifiers", "pseudonyms")


def retention_of(table: str) -> Retention:
    """Return how long the rows of a table of the pipeline stay.

    Raises:
        ContractError: no contract states it, so the table may not be kept.
    """
    known = every_retention()
    if table not in known:
        raise ContractError(
            DERIVED, "slaProperties", f"no entry for the table {table!r}: state its retention there"
        )
    return known[table]


@cache
def every_retention() -> Mapping[str, Retention]:
    """Return the retention of each table that a packaged contract names.

    Raises:
        ContractError: an entry is wrong, or a table has two.
    """
    found: dict[str, Retention] = {}
    for path in (*(PACKAGED / f"{name}.odcs.yaml" for name in packaged_tables()), DERIVED):
        for retention in retentions_in(path, read_document(path)):
            if retention.table in found:
                raise ContractError(path, "slaProperties", f"the table {retention.table!r} has two entries")
            found[retention.table] = retention
    return found


def retentions_in(path: Path, document: OpenDataContractStandard) -> list[Retention]:
    """Return the retentions that one contract states, in its order.

    Raises:
        ContractError: an entry is wrong.
    """
    agreements = document.slaProperties or []
    return [_compile(path, one) for one in agreements if one.property == "retention"]


def _compile(path: Path, entry: ServiceLevelAgreementProperty) -> Retention:
    place = f"slaProperties.retention of {entry.element or 'no element'}"
    try:
        table, column = _table_and_column("element", entry.element)
        more = custom_values(entry.customProperties)
        _refuse_wrong(more)
        return Retention(
            table=table,
            days=_days(entry.value, entry.unit),
            column=column,
            age_of=_table_and_column("ageOf", more["ageOf"]) if "ageOf" in more else None,
            gone_expired="gone" in more,
            replaced_by=_texts("replacedBy", more["replacedBy"]) if "replacedBy" in more else (),
            purposes=_texts("purposes", more["purposes"]),
            legal_basis=str(more["legalBasis"]),
            holds=str(more["holds"]),
            reason=_reason(entry.description),
        )
    except ValueError as error:
        raise ContractError(path, place, str(error)) from error


def _refuse_wrong(more: Mapping[str, Any]) -> None:
    if missing := [name for name in _NEEDED if name not in more]:
        raise ValueError(f"customProperties should hold {', '.join(_NEEDED)}; {', '.join(missing)} missing")
    if unknown := [name for name in more if name not in _KNOWN]:
        raise ValueError(f"customProperties may be {', '.join(_KNOWN)}; received {', '.join(unknown)}")
    if more["holds"] not in HOLDS:
        raise ValueError(f"holds should be one of {', '.join(HOLDS)}; received {more['holds']!r}")
    if more.get("gone", "expired") != "expired" or ("gone" in more and "ageOf" not in more):
        raise ValueError(f"gone should be expired, beside ageOf; received {more['gone']!r}")


def _table_and_column(name: str, text: Any) -> tuple[str, str]:
    table, dot, column = str(text).partition(".")
    if not dot or not table.isidentifier() or not column.isidentifier():
        raise ValueError(f"{name} should be TABLE.COLUMN, received {text!r}")
    return table, column


def _days(value: Any, unit: str | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"value should be a whole number from 1, or null; received {value!r}")
    if unit not in _DAYS_IN:
        raise ValueError(f"unit should be one of {', '.join(_DAYS_IN)}; received {unit!r}")
    return value * _DAYS_IN[unit]


def _texts(name: str, values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not values or not all(isinstance(one, str) and one for one in values):
        raise ValueError(f"{name} should be a list of texts, received {values!r}")
    return tuple(values)


def _reason(description: str | None) -> str:
    if not description or not description.strip():
        raise ValueError("description should say why the rows are kept this long, received none")
    return " ".join(description.split())

"""A finding of the audit, and all findings together. None of them names a shopper."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final


class State(StrEnum):
    """Whether a promise is kept."""

    FAILED = "failed"
    NOT_KNOWN = "not known"
    OK = "ok"


#: The sections in the order of the page.
SECTIONS: Final = {
    "map": "Data map",
    "retention": "Retention",
    "rights": "Requests of shoppers",
    "consent": "Consent",
    "anonymity": "Anonymity",
    "personal data": "Personal data where none belongs",
    "budget": "Privacy budget",
    "access": "Access",
    "keys": "Keys",
}


@dataclass(frozen=True)
class Finding:
    """One answer of the audit.

    Attributes:
        section: one of SECTIONS.
        name: what was asked, in a few words; unique in its section.
        state: whether the promise is kept.
        told: the answer, in a sentence.
        evidence: a query or a command that shows the same.
        number: the figure of the answer; None where it has none.
    """

    section: str
    name: str
    state: State
    told: str
    evidence: str
    number: float | None = None


@dataclass(frozen=True)
class Table:
    """One table of the data map.

    Attributes:
        name: the name of the table.
        rows: its rows; None if it was never written.
        holds: the most sensitive data that its rows hold.
        purposes: what the rows serve.
        legal_basis: why they may be kept.
        days: the days for which they stay; None for ever.
        made_of: the tables from which the pipeline makes it.
        fields: each field of its contract with its classification and its treatment.
    """

    name: str
    rows: int | None
    holds: str
    purposes: tuple[str, ...]
    legal_basis: str
    days: int | None
    made_of: tuple[str, ...]
    fields: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Audit:
    """What the audit of some days found.

    Attributes:
        first_day: the first day (UTC).
        last_day: the last day.
        at: when it was made.
        findings: all findings, the failed ones first.
        tables: the data map.
    """

    first_day: date
    last_day: date
    at: datetime
    findings: tuple[Finding, ...]
    tables: tuple[Table, ...] = field(default=())

    @classmethod
    def of(
        cls, days: tuple[date, date], at: datetime, findings: Iterable[Finding], tables: Sequence[Table]
    ) -> Audit:
        """Return the audit with its findings in order: failed, not known, ok; then by section."""
        states, sections = list(State), list(SECTIONS)
        ordered = sorted(findings, key=lambda one: (states.index(one.state), sections.index(one.section)))
        return cls(*days, at, tuple(ordered), tuple(tables))

    def count(self, state: State) -> int:
        """Return how many findings have a state."""
        return sum(finding.state is state for finding in self.findings)

    @property
    def audit_id(self) -> str:
        """The days, and a digest of what was found: the same findings have the same id at any time."""
        told = json.dumps([asdict(finding) for finding in self.findings], default=str)
        digest = hashlib.sha256(told.encode()).hexdigest()[:12]
        return f"{self.first_day}--{self.last_day}-{digest}"

    def to_dict(self) -> dict[str, Any]:
        """Return the audit as JSON takes it."""
        written = asdict(self) | {"audit_id": self.audit_id, "failed": self.count(State.FAILED)}
        days = {"first_day": self.first_day.isoformat(), "last_day": self.last_day.isoformat()}
        return written | days | {"at": self.at.isoformat(), "not_known": self.count(State.NOT_KNOWN)}

    @classmethod
    def from_dict(cls, written: Mapping[str, Any]) -> Audit:
        """Return the audit that `to_dict` wrote."""
        return cls(
            first_day=date.fromisoformat(written["first_day"]),
            last_day=date.fromisoformat(written["last_day"]),
            at=datetime.fromisoformat(written["at"]),
            findings=tuple(Finding(**one | {"state": State(one["state"])}) for one in written["findings"]),
            tables=tuple(
                Table(
                    **one
                    | {
                        "purposes": tuple(one["purposes"]),
                        "made_of": tuple(one["made_of"]),
                        "fields": tuple(tuple(part) for part in one["fields"]),
                    }
                )
                for one in written["tables"]
            ),
        )

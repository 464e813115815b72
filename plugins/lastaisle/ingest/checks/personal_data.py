"""Take e-mail addresses and other personal data out of staged rows, before any table holds them.

The contract says what is searched in which field (`scan`), and what happens to a row with a find
(`unreadable`): the value is left out, or the row goes to quarantine. Each find breaks a rule such as
`brand_holds_email`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from data_contracts.field import Field
from data_contracts.privacy import literal, quote
from data_contracts.scans import Scan
from lastaisle.ingest.checks.changes import shown_name, unknown_values
from lastaisle.ingest.report import OTHER
from lastaisle.privacy.scan.candidates import may_hold
from lastaisle.privacy.scan.kinds import kinds_in

if TYPE_CHECKING:
    from lastaisle.ingest.staging.staging import Staging

log = logging.getLogger(__name__)

IGNORED: Final = "ignored_reason"
"""The name, beside those of fields, of the reason why a row is ignored: a shop's name of an event."""
_MOST_CHARACTERS: Final = 4000
_DEPTH: Final = 20
_HITS: Final = pa.schema([("value", pa.string()), ("rules", pa.list_(pa.string()))])


def take_out_personal_data(
    staging: Staging, where: str, *, known: Collection[str] | None = None, countries: Sequence[str] = ()
) -> dict[str, int]:
    """Search the texts of staged rows, and take out what they should not hold.

    Args:
        staging: holds the rows; rows that broke a rule go to quarantine anyway and are not searched.
        where: the file, for the log. The log never holds a value.
        known: the names that the contract has, if lines are objects with these names. The values of other
            names, which no table keeps, are searched in the first lines, to tell the shop what it sends.
        countries: see `kinds_in`.

    Returns:
        The rows by rule, such as `brand_holds_email`, the most frequent rule first.
    """
    search = _Search(staging, countries)
    if known is not None:
        search.unknown(known)
    for field in staging.contract.fields:
        if field.scan != "none":
            search.take_out(field)
    search.reasons()
    found = dict(sorted(search.found.items(), key=lambda item: (-item[1], item[0])))
    if found:
        log.warning(
            "%s: personal data where the contract expects none, rows by field and kind: %s. The values were "
            "left out, or the rows quarantined: mend the source",
            *(where, found),
        )
    return found


class _Search:
    """Searches one column after the other.

    Attributes:
        found: the rows by rule.
    """

    def __init__(self, staging: Staging, countries: Sequence[str]) -> None:
        self.staging = staging
        self.connection = staging.connection
        self.countries = countries
        self.found: dict[str, int] = {}
        self.refusing: list[str] = []  # rules whose rows are quarantined and still searched

    def take_out(self, field: Field) -> None:
        """Leave out the finds of a field, or quarantine their rows."""
        column = quote(field.name)
        treated = field.treatment.sql(field.name)  # as the tables will hold it: of a page only the host
        searched = f"_ignored IS NULL AND {self._is_kept()}"
        rules = self._mark(field.name, column, treated, field.scan, searched)
        if not rules:
            return
        if field.unreadable == "drop":
            changes = f"{column} = NULL, _warnings = list_concat(coalesce(_warnings, []), hits.rules)"
        else:
            payload = self.staging.canonical_json()  # the line of a sound row is gone
            changes = f"_rules = list_concat(coalesce(_rules, []), hits.rules), _payload = {payload}"
        self._update(column, changes, searched)
        if field.unreadable != "drop":
            self.refusing += rules

    def reasons(self) -> None:
        """Count ignored rows whose reason is a find as `other`."""
        if self._mark(IGNORED, "_ignored", "_ignored", "text", "true"):
            self._update("_ignored", f"_ignored = {literal(OTHER)}", "true")

    def unknown(self, known: Collection[str]) -> None:
        """Count the lines whose unknown fields hold a find; nothing has to be left out."""
        counts: Counter[tuple[str, str]] = Counter()
        for name, value in unknown_values(self.staging.first_lines.to_pylist(), known):
            # Half a pair of UTF-16, which Arrow refuses, sends the line to quarantine by a rule of its own.
            texts = (text.encode(errors="replace").decode() for text in (name, *_texts(value)))
            counts.update({(shown_name(name).replace(" ", "_"), text) for text in texts})
        unknown = pa.table({"text": pa.array({text for _, text in counts}, pa.string())})
        asked = may_hold("text", "text", national=bool(self.countries))
        self.connection.register("unknown_texts", unknown)
        candidates = self.connection.execute(f"SELECT text FROM unknown_texts WHERE {asked}").fetchall()
        self.connection.unregister("unknown_texts")
        kinds = {text: kinds_in(text, "text", self.countries) for (text,) in candidates}
        for (name, text), count in counts.items():
            for kind in kinds.get(text, ()):
                rule = f"{name}_holds_{kind}"
                self.found[rule] = self.found.get(rule, 0) + count

    def _mark(self, name: str, column: str, treated: str, scan: Scan, searched: str) -> list[str]:
        """Make the table `hits` of the values of a column that are finds, and count their rows.

        Args:
            name: the name of the column in the rules.
            column: the column of `staged`.
            treated: the SQL of the value as the tables will hold it.
            scan: the kinds that count.
            searched: the condition on the rows.

        Returns:
            The rules that these values break.
        """
        asked = may_hold("treated", scan, national=bool(self.countries))
        # Most texts stand in many rows. The ids of rows all differ, so a set of them saves nothing.
        is_unique = any(key.columns == (name,) for key in self.staging.contract.unique_keys)
        distinct = "" if is_unique else "DISTINCT"
        candidates = self.connection.execute(
            f"""SELECT DISTINCT value, treated FROM (
                  SELECT {column} AS value, {treated} AS treated FROM (
                    SELECT {distinct} {column} FROM staged WHERE {column} IS NOT NULL AND {searched})
                ) WHERE {asked}"""
        ).fetchall()
        kinds = {value: kinds_in(treated, scan, self.countries) for value, treated in candidates}
        hits = {value: [f"{name}_holds_{kind}" for kind in found] for value, found in kinds.items() if found}
        if not hits:
            return []
        table = pa.table({"value": list(hits), "rules": list(hits.values())}, schema=_HITS)
        self.connection.register("new_hits", table)
        self.connection.execute("CREATE OR REPLACE TABLE hits AS FROM new_hits")
        self.connection.unregister("new_hits")
        counted = self.connection.execute(
            f"""SELECT rule, count(*) FROM (
                  SELECT unnest(hits.rules) AS rule FROM staged JOIN hits ON {column} = hits.value
                  WHERE {searched}) GROUP BY rule"""
        ).fetchall()
        self.found |= {str(rule): int(count) for rule, count in counted}
        return [rule for rule, _ in counted]

    def _update(self, column: str, changes: str, searched: str) -> None:
        self.connection.execute(
            f"UPDATE staged SET {changes} FROM hits WHERE {searched} AND staged.{column} = hits.value"
        )

    def _is_kept(self) -> str:
        """Return the condition for rows that no rule broke, or only a find in another field."""
        refusing = ", ".join(map(literal, self.refusing))
        return f"(_rules IS NULL OR list_has_any(_rules, [{refusing}]::VARCHAR[]))"


def _texts(value: Any, depth: int = _DEPTH) -> Iterator[str]:
    """Yield the texts and numbers of a value of JSON, also those of nested values and the names in them."""
    if isinstance(value, str | int | float):
        yield str(value)[:_MOST_CHARACTERS]
    elif isinstance(value, dict) and depth:
        for name, inner in value.items():
            yield name
            yield from _texts(inner, depth - 1)
    elif isinstance(value, list) and depth:
        for inner in value:
            yield from _texts(inner, depth - 1)

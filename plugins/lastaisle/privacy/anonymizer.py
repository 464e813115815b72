"""The SQL that turns raw rows into events; the contract classifies each field."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_contracts.contract import Contract
from data_contracts.privacy import SUB_ROWS, quote
from data_contracts.rules import Rule
from lastaisle.lake import Query
from lastaisle.lake.tables import EVENTS_ADDED
from lastaisle.lake.workspace import ALL_OPTIMIZERS, JOIN_AS_WRITTEN
from lastaisle.privacy.domains import LakeKey
from lastaisle.privacy.k_anonymity import Generalizer, Grouping
from lastaisle.privacy.sessions import name_sessions

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SURROGATES_LOOKED_AT = 1000
_PLACE = f"source_row * {SUB_ROWS} + sub_row"
_STAND_IN = "repeat('0', 32)"  # for a pseudonym, where only its presence matters


def events_schema(contract: Contract) -> pa.Schema:
    """Return the columns of events that follow from the contract of raw_events."""
    kept_fields = [field for field in contract.fields if field.treatment.action != "drop"]
    return pa.schema([*(pa.field(field.name, field.arrow_type) for field in kept_fields), *EVENTS_ADDED])


class Anonymizer:
    """Turns the rows of the relation `taken` into rows of `events`.

    Args:
        connection: holds `taken`, rows of raw_events that `_place` numbers; and `visits` if sessions were
            derived.
        contract: the contract of raw_events.
        key: the pseudonym key of the lake; it is passed to DuckDB only as a bound value.
        derived: whether `derive_sessions` derived any session.
        grouping: how many shoppers share the quasi-identifiers of a row; see `Generalizer`.
    """

    def __init__(
        self,
        connection: DuckDBPyConnection,
        contract: Contract,
        key: LakeKey,
        derived: bool,
        grouping: Grouping,
    ) -> None:
        self.connection = connection
        connection.execute(ALL_OPTIMIZERS)
        self.contract = contract
        self.key_version = key.version
        self.derived = derived
        policy = contract.privacy_policy()
        self.policy = {name: treatment for name, treatment in policy.items() if treatment.action != "drop"}
        self.hashed = [name for name, treatment in self.policy.items() if treatment.action == "pseudonymize"]
        self.surrogates = [name for name, treatment in self.policy.items() if treatment.action == "surrogate"]
        key.bind(connection, {self.policy[name].domain(name) for name in self.hashed})
        for name in self.hashed:  # one HMAC for each identifier, not for each row
            connection.execute(
                f"CREATE OR REPLACE TABLE {_pseudonyms(name)} AS SELECT {quote(name)} AS _raw, "
                f"{self.policy[name].sql(name)} AS {quote(name)} "
                f"FROM (SELECT DISTINCT {quote(name)} FROM taken WHERE {quote(name)} IS NOT NULL)"
            )
        if derived:
            name_sessions(connection, self.policy["session_id"])
        self.ranked = self._rank()
        self.generalizer = Generalizer(connection, contract, grouping)

    def query(self) -> Query:
        """Return the rows of `events`."""
        columns = ", ".join(f"{self._treated(name)} AS {quote(name)}" for name in self.policy)
        joins = [
            f"LEFT JOIN {_pseudonyms(name)} ON {_pseudonyms(name)}._raw = taken.{quote(name)}"
            for name in self.hashed
        ]
        joins += ["LEFT JOIN named USING (_place)"] * self.derived + [
            "JOIN ranks USING (_place)"
        ] * self.ranked
        joins.append(self.generalizer.join)
        sql = f"""SELECT {columns}, {"_rank" if self.ranked else _PLACE} AS sequence, event_date, batch_id,
            contract_version, {self.key_version}::INTEGER AS key_version FROM taken {" ".join(joins)}"""
        # DuckDB estimates `taken` as the smaller side and would hash its whole rows.
        self.connection.execute(JOIN_AS_WRITTEN)
        days = self.connection.execute("SELECT DISTINCT event_date FROM taken ORDER BY 1").fetchall()
        return Query(self.connection, sql, events_schema(self.contract), [day for (day,) in days])

    def _treated(self, name: str) -> str:
        hashed = f"{_pseudonyms(name)}.{quote(name)}"
        treated = hashed if name in self.hashed else self.policy[name].sql(name)
        treated = self.generalizer.sql(name, treated)
        return f"coalesce({treated}, named._session_id)" if name == "session_id" and self.derived else treated

    def moved_sessions(self) -> pa.Table:
        """Return event_id, session_id and event_date of rows whose session may have changed."""
        event_id = self.policy["event_id"].sql("event_id")
        moved = f"SELECT {event_id} AS event_id, session_id, event_date FROM moved"
        return self.connection.sql(moved).to_arrow_table()

    def broken(self, contract: Contract) -> dict[str, int]:
        """Count the rows that would break each rule of the contract of events.

        The raw rows passed their rules, so a broken rule is an error in a contract or in this code. To save
        time, not every rule is checked on every row. A rule that raw_events has too holds already on fields
        that are kept as they are. The pattern of pseudonyms is checked once for each identifier. The pattern
        of surrogates is checked on a sample, since all of them are made of numbers.
        """
        proven = {rule.predicate for rule in self.contract.rules if rule.severity == "error"}
        kept_fields = {name for name, treatment in self.policy.items() if treatment.action == "keep"}
        rules = [
            rule
            for rule in contract.rules
            if rule.severity == "error"
            and not rule.reference
            and not (rule.predicate in proven and set(rule.columns) <= kept_fields)
        ]
        of_names = {name: [rule for rule in rules if _looks_of(rule, name)] for name in self.hashed}
        counts: dict[str, int] = {}
        for name, own in of_names.items():
            counts |= self._count(own, _pseudonyms(name))
        made = [rule for rule in rules if any(_looks_of(rule, name) for name in self.surrogates)]
        few = self._sketch(self.hashed)
        counts |= self._count(made, f"(FROM ({few}) LIMIT {SURROGATES_LOOKED_AT})")
        elsewhere = {rule.name for own in [*of_names.values(), made] for rule in own}
        all_rows = self._sketch([*self.hashed, *self.surrogates])
        return counts | self._count([rule for rule in rules if rule.name not in elsewhere], f"({all_rows})")

    def _sketch(self, made: Collection[str]) -> str:
        """Return the SELECT of the treated rows without joins; made values are replaced by a placeholder."""

        def presence(name: str) -> str:
            # Every row with a user has a session, given or derived.
            value = "coalesce(session_id, user_id)" if name == "session_id" else quote(name)
            return f"CASE WHEN {value} IS NOT NULL THEN {_STAND_IN} END"

        columns = ", ".join(
            f"{presence(name) if name in made else how.sql(name)} AS {quote(name)}"
            for name, how in self.policy.items()
        )
        return (
            f"SELECT {columns}, {_PLACE} AS sequence, event_date, batch_id, contract_version, "
            f"{self.key_version}::INTEGER AS key_version FROM taken"
        )

    def _count(self, rules: list[Rule], relation: str) -> dict[str, int]:
        if not rules:
            return {}
        now = {"now": datetime.now(UTC).isoformat()} if any(rule.uses_now for rule in rules) else None
        good = " AND ".join(f"coalesce({rule.predicate}, true)" for rule in rules)
        if not self.connection.execute(f"FROM {relation} WHERE NOT ({good}) LIMIT 1", now).fetchall():
            return {}
        counts = ", ".join(f"count_if(({rule.predicate}) IS FALSE)" for rule in rules)
        row = self.connection.execute(f"SELECT {counts} FROM {relation}", now).fetchall()[0]
        return {rule.name: count for rule, count in zip(rules, row, strict=True) if count}

    def _rank(self) -> bool:
        """Make the table `ranks` if rows must be ranked by time, since their times are cut to the second.

        Most logs are ordered by time. If no row occurred before the row above it, the position in the source
        gives the order, without a sort or a join.
        """
        rows = self.connection.sql(
            f"SELECT batch_id, {_PLACE} AS line, epoch_us(occurred_at) AS time, sub_row FROM taken"
        ).to_arrow_table()
        line, time = (rows[name].to_numpy() for name in ("line", "time"))
        batch = rows["batch_id"].dictionary_encode().combine_chunks().indices.to_numpy()
        order = np.lexsort((line, batch))
        earlier = (np.diff(time[order]) < 0) & (np.diff(batch[order]) == 0)
        if not earlier.any() and (pc.max(rows["sub_row"]).as_py() or 0) < SUB_ROWS:
            return False
        self.connection.execute(
            """CREATE OR REPLACE TABLE ranks AS SELECT _place, row_number() OVER (
                 PARTITION BY batch_id ORDER BY occurred_at, source_row, sub_row) AS _rank FROM taken"""
        )
        return True


def _pseudonyms(name: str) -> str:
    return quote(f"pseudonyms_of_{name}")


def _looks_of(rule: Rule, name: str) -> bool:
    """Tell whether a rule is about the pattern of a pseudonym, not about its presence."""
    return rule.columns == (name,) and not rule.name.endswith("_is_required")

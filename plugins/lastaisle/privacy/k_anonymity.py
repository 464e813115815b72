"""Leave out device and place where fewer than k shoppers of an hour share them.

The contract names the quasi-identifiers and the steps in which they become coarser. A **class** is the rows
of `events` of one hour that have the same quasi-identifiers, at least one of them not NULL. The promise: each
class has at least k shoppers, as soon as all parts of a batch are written. Rows without any quasi-identifier
make no promise.

Each batch is judged by its own rows, so that the order and the number of the tasks change nothing: a group of
at least k shoppers stays as it is, the other rows go to the next step. A row that is left after the last step
joins the finest class that has k shoppers already: of the same batch, or written before. A value that was
written is never taken back, and classes only grow.

Shoppers are counted, not rows: by their user id, else by their session.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pyarrow.dataset as ds

from data_contracts.contract import Contract
from data_contracts.privacy import literal, quote
from data_contracts.quasi_identifiers import QuasiIdentifiers

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

K: Final = 20
"""The least shoppers of a class, unless LASTAISLE_K_ANONYMITY says otherwise."""
SHOPPER: Final = "coalesce(user_id, session_id)"
#: Of batches, each is judged alone; a rotation judges all rows of an hour together.
EACH_BATCH, ALL_BATCHES = "batch_id", "''"
_STEP: Final = "_step"


@dataclass(frozen=True)
class Grouping:
    """How rows are judged.

    Attributes:
        k: the least shoppers of a class; 0 leaves all values as they are.
        population: the relation whose shoppers are counted: all rows of the batches, also where the rows that
            are written are only one part of them.
        scope: EACH_BATCH or ALL_BATCHES.
        written: the table events as it is now, for the classes that are there already; None without one.
    """

    k: int = K
    population: str = "taken"
    scope: str = EACH_BATCH
    written: ds.Dataset | None = field(default=None, compare=False)


class Generalizer:
    """Decides which quasi-identifiers of the rows of `taken` are left out.

    The decision of each group is in the table `generalized`: `_step` is the step whose columns stay; one more
    than the last step where none stays. Groups of which all values stay have no row there.

    Args:
        connection: holds `taken`, rows of raw_events, and the population.
        contract: the contract of raw_events.
        grouping: how rows are judged.
    """

    def __init__(self, connection: DuckDBPyConnection, contract: Contract, grouping: Grouping) -> None:
        self.connection = connection
        self.grouping = grouping
        quasi = contract.quasi_identifiers if grouping.k > 0 else None
        self.quasi = quasi
        self.columns: tuple[str, ...] = () if quasi is None else quasi.columns
        if quasi is None:
            return
        policy = contract.privacy_policy()
        self.treated = {name: policy[name].sql(name) for name in quasi.columns}
        self._count_shoppers(quasi)
        for step in range(len(quasi.steps)):
            self._keep(quasi, step)
        self._join_classes(quasi)

    @property
    def join(self) -> str:
        """The SQL that joins the decisions to `taken`."""
        if self.quasi is None:
            return ""
        same = " AND ".join(
            f"generalized.{_own(name)} IS NOT DISTINCT FROM ({self.treated[name]})" for name in self.columns
        )
        return (
            f"LEFT JOIN generalized ON generalized._scope = {self.grouping.scope} "
            f"AND generalized._unit = {self.quasi.unit_sql(f'taken.{quote(self.quasi.time)}')} AND {same}"
        )

    def sql(self, name: str, treated: str) -> str:
        """Return the SQL of a column of `events`; other columns than quasi-identifiers stay as they are."""
        if self.quasi is None or name not in self.columns:
            return treated
        return f"CASE WHEN coalesce({_STEP}, 0) <= {self.quasi.last_step(name)} THEN {treated} END"

    def left_out(self) -> dict[str, int]:
        """Count, for each quasi-identifier, the rows of `taken` that lose its value."""
        if self.quasi is None:
            return {}
        counts = ", ".join(
            f"count_if({self.treated[name]} IS NOT NULL AND {_STEP} > {self.quasi.last_step(name)})"
            for name in self.columns
        )
        row = self.connection.execute(f"SELECT {counts} FROM taken {self.join}").fetchall()[0]
        return {name: count for name, count in zip(self.columns, row, strict=True) if count}

    def _count_shoppers(self, quasi: QuasiIdentifiers) -> None:
        """Make the table `people`, a row for each shopper and group, and `kept` without rows."""
        columns = ", ".join(f"{self.treated[name]} AS {quote(name)}" for name in quasi.columns)
        any_value = " OR ".join(f"{self.treated[name]} IS NOT NULL" for name in quasi.columns)
        # Two shoppers with one hash would count as one, so that a class could only be larger than is known.
        self.connection.execute(
            f"""CREATE OR REPLACE TABLE people AS
                SELECT DISTINCT {self.grouping.scope} AS _scope, {quasi.unit_sql(quote(quasi.time))} AS _unit,
                  {columns}, hash({SHOPPER}) AS _shopper
                FROM {self.grouping.population} WHERE {any_value}"""
        )
        self.connection.execute(
            f"""CREATE OR REPLACE TABLE kept AS
                SELECT _scope, _unit, {_listed(quasi.columns)}, 0 AS {_STEP} FROM people LIMIT 0"""
        )

    def _keep(self, quasi: QuasiIdentifiers, step: int) -> None:
        """Move the groups that have k shoppers at a step from `people` to `kept`."""
        columns = _listed(quasi.steps[step])
        self.connection.execute(
            f"""CREATE OR REPLACE TABLE large AS SELECT _scope, _unit, {columns} FROM people
                GROUP BY ALL HAVING count(DISTINCT _shopper) >= {self.grouping.k}"""
        )
        same = _same("people", "large", quasi.steps[step])
        self.connection.execute(
            f"""INSERT INTO kept SELECT DISTINCT _scope, _unit, {_listed(quasi.columns)}, {step}
                FROM people SEMI JOIN large ON {same}"""
        )
        self.connection.execute(
            f"CREATE OR REPLACE TABLE people AS SELECT * FROM people ANTI JOIN large ON {same}"
        )

    def _join_classes(self, quasi: QuasiIdentifiers) -> None:
        """Decide for the groups that are left: the finest step at which a class has k shoppers already."""
        last = len(quasi.steps)
        classes = [f"SELECT DISTINCT _scope, _unit, {self._class(quasi)} FROM kept"]
        (left,) = self.connection.execute("SELECT count(*) FROM people").fetchall()[0]
        if left and self.grouping.written is not None:
            classes.append(self._read_written(quasi, self.grouping.written))
        self.connection.execute(f"CREATE OR REPLACE TABLE classes AS {' UNION '.join(classes)}")
        steps = []
        for step, columns in enumerate(quasi.steps):
            own = {name: f"people.{quote(name)}" if name in columns else "NULL" for name in quasi.columns}
            same = " AND ".join(f"classes.{quote(name)} IS NOT DISTINCT FROM {own[name]}" for name in own)
            some = " OR ".join(f"{own[name]} IS NOT NULL" for name in columns)
            steps.append(
                f"""SELECT people._scope, people._unit, {_listed(quasi.columns, "people")}, {step} AS {_STEP}
                    FROM people JOIN classes ON people._unit = classes._unit
                      AND classes._scope IN ('', people._scope) AND {same} WHERE {some}"""
            )
        steps.append(f"SELECT _scope, _unit, {_listed(quasi.columns)}, {last} AS {_STEP} FROM people")
        self.connection.execute(
            f"""CREATE OR REPLACE TABLE generalized AS
                SELECT * RENAME ({_renamed(quasi.columns)}) FROM (
                  SELECT _scope, _unit, {_listed(quasi.columns)}, min({_STEP}) AS {_STEP} FROM (
                    {" UNION ALL ".join(steps)}) GROUP BY ALL
                  UNION ALL FROM kept) WHERE {_STEP} > 0"""
        )

    def _class(self, quasi: QuasiIdentifiers) -> str:
        """Return SQL of the quasi-identifiers of `kept` as they are written."""
        return ", ".join(
            f"CASE WHEN {_STEP} <= {quasi.last_step(name)} THEN {quote(name)} END AS {quote(name)}"
            for name in quasi.columns
        )

    def _read_written(self, quasi: QuasiIdentifiers, written: ds.Dataset) -> str:
        """Return SQL of the classes of `events` that have k shoppers, in the units of `people`."""
        names = {*quasi.columns, quasi.time, "user_id", "session_id"}
        if not names <= set(written.schema.names):  # an older table, or a contract that drops one of them
            return f"SELECT * FROM (SELECT '' AS _scope, _unit, {_listed(quasi.columns)} FROM people LIMIT 0)"
        self.connection.register("written", written)
        unit = quasi.unit_sql(quote(quasi.time))
        self.connection.execute(
            f"""CREATE OR REPLACE TABLE written_classes AS
                SELECT '' AS _scope, {unit} AS _unit, {_listed(quasi.columns)}
                FROM written SEMI JOIN (SELECT DISTINCT _unit FROM people) AS asked ON asked._unit = {unit}
                WHERE event_date IN ({self._days(quasi)})
                GROUP BY ALL HAVING count(DISTINCT {SHOPPER}) >= {self.grouping.k}"""
        )
        self.connection.unregister("written")
        return "SELECT * FROM written_classes"

    def _days(self, quasi: QuasiIdentifiers) -> str:
        """Return the UTC days of the rows that are left, as SQL; their partitions are the only ones read."""
        unit = f"SELECT DISTINCT event_date FROM {self.grouping.population} SEMI JOIN people ON "
        rows = self.connection.execute(
            f"{unit} people._unit = {quasi.unit_sql(f'{self.grouping.population}.{quote(quasi.time)}')}"
        ).fetchall()
        return ", ".join(f"DATE {literal(str(day))}" for (day,) in rows)


def describe(left_out: Mapping[str, int], k: int) -> str:
    """Return a sentence about the values that were left out."""
    named = ", ".join(f"{name} in {count:,} rows" for name, count in left_out.items())
    return f"fewer than {k} shoppers of an hour share them, so these values were left out: {named}"


def _own(name: str) -> str:
    """Return the name of a column of `generalized`: one that no column of `taken` has."""
    return quote(f"_was_{name}")


def _renamed(names: Iterable[str]) -> str:
    return ", ".join(f"{quote(name)} AS {_own(name)}" for name in names)


def _listed(names: Iterable[str], table: str = "") -> str:
    prefix = f"{table}." if table else ""
    return ", ".join(f"{prefix}{quote(name)}" for name in names)


def _same(one: str, other: str, columns: Collection[str]) -> str:
    keys = [f"{one}._scope = {other}._scope", f"{one}._unit = {other}._unit"]
    return " AND ".join(
        [*keys, *(f"{one}.{quote(n)} IS NOT DISTINCT FROM {other}.{quote(n)}" for n in columns)]
    )

"""A lake whose outcomes and bandits the test says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa

from lastaisle.experiments.traffic import TrafficMove, Trial, read_traffic, write_move
from lastaisle.feedback.origin import TrialLabel, list_id
from lastaisle.lake.lake import Lake
from lastaisle.lake.tables import OUTCOMES, OUTCOMES_SCHEMA
from tests.experiments.bandits.conftest import START, bandit, trial


class Shop:
    """Lists are in the lake after `write`."""

    def __init__(self, folder: Any) -> None:
        self.lake = Lake(folder)
        self.rows: dict[str, dict[str, Any]] = {}
        self.writes = 0

    def start(self, made: Trial | None = None, state: str = "running") -> Trial:
        made = made or trial(bandit())
        log = read_traffic(self.lake)
        move = TrafficMove(f"tests-{len(log.moves)}", START, state, made, "a reason", "tests")  # type: ignore[arg-type]
        write_move(self.lake, move, log)
        return made

    def list(
        self,
        hour: float,
        arm: str,
        *,
        name: str = "lists",
        propensity: float = 0.5,
        context: tuple[str, ...] = (),
        items: int = 2,
        **given: Any,
    ) -> str:
        """Add a list of some items; `clicked`, `added` and `ordered` are hours after it was shown."""
        number = len(self.rows)
        label = TrialLabel(name, arm, propensity, context or ("",), arm)
        made = list_id("1", "model", f"{number:024x}", consent=True, is_drawn=False, label=label)
        for position in range(1, items + 1):
            self._row(made, hour, position, experiment=name, arm=arm, user_id=f"shopper-{number}", **given)
            given = {}
        return made

    def foreign(self, hour: float, **values: Any) -> None:
        """Add a list whose id our service did not make."""
        self._row(f"other-{len(self.rows)}", hour, 1, **values)

    def _row(self, made: str, hour: float, position: int, **values: Any) -> None:
        shown_at = START + timedelta(hours=hour)
        row = {**dict.fromkeys(OUTCOMES_SCHEMA.names), "recommendation_id": made, "position": position}
        row |= {"shown_at": shown_at, "event_date": shown_at.date(), "exposure_id": f"{made}#{position}"}
        for reward in ("clicked", "added", "ordered"):
            after = values.pop(reward, None)
            row[f"{reward}_at"] = None if after is None else shown_at + timedelta(hours=after)
        self.rows[row["exposure_id"]] = row | values

    def write(self) -> int:
        """Write all rows; return the version of the table."""
        rows = pa.Table.from_pylist(list(self.rows.values()), schema=OUTCOMES_SCHEMA)
        self.writes += 1
        self.lake.overwrite(OUTCOMES, rows, key=f"rows {self.writes}")
        return int(self.lake.version(OUTCOMES) or 0)

    def newest(self, name: str = "lists") -> TrafficMove:
        return read_traffic(self.lake).newest()[name]

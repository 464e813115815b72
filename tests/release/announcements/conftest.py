"""An installation whose ledger and traffic move, and services that hear of it."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.experiments.traffic import Arm, TrafficMove, Trial, read_traffic, write_move
from lastaisle.lake import Lake
from lastaisle.lake.tables import ANNOUNCEMENTS
from lastaisle.registry.ledger import Ledger, Move
from lastaisle.release.announcements.announce import announce
from lastaisle.settings import Settings
from tests.delivery.receivers import SECRET, Receiver

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)


@dataclasses.dataclass
class Shop:
    """An installation; its clock moves by hand."""

    settings: Settings
    lake: Lake
    now: datetime = NOON

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.lake, self.settings.registry.model_name)

    def hears(self, *receivers: Receiver | str, **changes: object) -> None:
        """Set the addresses, and note their first use."""
        addresses = ",".join(one if isinstance(one, str) else one.address for one in receivers)
        self.settings = self.settings.replace(webhooks=addresses, webhook_secret=SECRET, **changes)
        self.announce()

    def announce(self, after: timedelta = timedelta(0)):
        self.now += after
        return announce(self.lake, self.settings, self.now)

    def move(self, action: str, version: str, alias: str = "champion", reason: str = "It is better.") -> Move:
        number = len(self.ledger.moves())
        move = Move(
            move_id=f"anna/{number}/{action}",
            moved_at=NOON + timedelta(minutes=number),
            actor="anna",
            action=action,
            model_name=self.settings.registry.model_name,
            alias=alias,
            from_version=self.ledger.standing().aliases[alias],
            to_version=version,
            reason=reason,
            run_id=f"run{version}",
            run_key="key",
        )
        self.ledger.write(move)
        return move

    def trial(self, state: str, kind: str = "experiment", name: str = "two-models") -> None:
        log = read_traffic(self.lake)
        trial = Trial(name=name, kind=kind, arms=(Arm(name="control"),), starts_at=NOON)
        at = NOON + timedelta(hours=1, minutes=log.next_entry)
        move = TrafficMove(f"anna/{log.next_entry}", at, state, trial, f"It is {state}.", "anna")
        assert write_move(self.lake, move, log)

    def rows(self, state: str) -> list[dict]:
        rows = self.lake.scan(ANNOUNCEMENTS).sort_by("at").to_pylist()
        return [row for row in rows if row["state"] == state]


@pytest.fixture
def shop(tmp_path):
    settings = Settings.of(home=tmp_path)
    return Shop(settings, Lake(settings.lake.url))

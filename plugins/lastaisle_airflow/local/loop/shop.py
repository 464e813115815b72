"""The simulated shop of the loop, and what is kept of its finished days."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lastaisle.errors import SourceError
from lastaisle.settings import Settings
from lastaisle_airflow.local import serving
from lastaisle_airflow.local.polling import wait_until
from lastaisle_airflow.local.services import ServiceError

if TYPE_CHECKING:
    from lastaisle.simulate import DayOfLogs, ShopOptions
    from lastaisle.simulate.live import LiveShop

# Functions import the simulation inside: the loop starts Airflow before it loads NumPy.

SPOILED = 0.3
"""What is left of the clicks on the lists of a version that the shop's page shows badly."""
PUBLISHED_TIMEOUT = 60.0
_SPOILED = "spoiled.json"


@dataclass(frozen=True)
class FinishedDay:
    """A day of the shop that is over, and whose logs have landed.

    Attributes:
        day: the day.
        sessions: sessions that started on the day.
        truth: the true counts of lists and reactions; None for a day without lists.
        followed: seconds from the day's last promotion to the service's first answer by that version; None
            if no version was promoted, or its promotion was not observed.
        events: what was decided after the day, in sentences.
    """

    day: date
    sessions: int
    truth: Mapping[str, Any] | None
    followed: float | None = None
    events: tuple[str, ...] = ()


class LoopShop:
    """The shop, day by day. A day that was cut is repeated; a finished day is not.

    Args:
        settings: settings of the loop's home.
        options: the options of the shop; the home keeps them.

    Raises:
        SourceError: the home holds the days of another shop.
    """

    def __init__(self, settings: Settings, options: ShopOptions) -> None:
        self.settings = settings
        self.options = options
        self.days = [options.start + timedelta(days=number) for number in range(options.days)]
        self._folder = settings.home / "loop"
        self._live: LiveShop | None = None
        self._keep_options()

    def finished(self, number: int) -> FinishedDay | None:
        """Return a day that is over; None if it has not begun, or was cut."""
        path = self._file_of(number)
        if not path.exists():
            return None
        kept = json.loads(path.read_text(encoding="utf-8"))
        kept |= {"day": date.fromisoformat(kept["day"]), "events": tuple(kept.get("events", ()))}
        return FinishedDay(**kept)

    def open(self, number: int, progress: Callable[[int, int], None]) -> FinishedDay:
        """Let a day's shoppers visit the shop and its service; return when the logs have landed.

        On the first day there is no model yet, so nobody sees a list.

        Raises:
            LastaisleError: the service does not answer, or refuses the key.
            ServiceError: the service does not publish the feedback.
        """
        if number == 0:
            logs, truth = self._shop().plain_day(0), None
        else:
            live = self._shop().day(number, progress=progress)
            logs, truth = live.logs, live.truth.as_dict()
            self._wait_until_published()
        self._land(logs)
        over = FinishedDay(logs.day, logs.truth.sessions, truth)
        self._keep(number, over)
        return over

    def note(self, number: int, over: FinishedDay, **noted: Any) -> FinishedDay:
        """Keep with a finished day how long the service took to follow, or what was decided."""
        changed = replace(over, **noted)
        self._keep(number, changed)
        return changed

    @property
    def spoiled(self) -> Mapping[str, float]:
        """The versions whose lists the page shows badly, with the share of the clicks that is left."""
        path = self._folder / _SPOILED
        kept: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return kept

    def spoil(self, version: str) -> None:
        """Let the shop's page show the lists of a version badly from now on: only the shop knows."""
        self._write(_SPOILED, {**self.spoiled, version: SPOILED})
        self._live = None  # the next day opens the shop anew

    def _shop(self) -> LiveShop:
        """Return the shop of this process, which goes on where the journal of an earlier process ends."""
        if self._live is None:
            from lastaisle.simulate.live import LiveService, LiveShop

            key = serving.headers_of(self.settings)["Authorization"].removeprefix("Bearer ")
            service = LiveService(serving.url_of(self.settings), key)
            journal = self._folder / "journal"
            self._live = LiveShop(
                self.options, service, popular_share=None, journal=journal, spoiled=self.spoiled
            )
        return self._live

    def _land(self, logs: DayOfLogs) -> None:
        """Write the logs of a day, and the items that changed; each file whole or not at all."""
        from lastaisle.simulate.write import day_file, write_whole

        write_whole(day_file(self.settings.home / "landing", logs.day), logs.lines)
        write_whole(self.settings.home / "catalogue" / f"{logs.day}.jsonl", logs.items)

    def _wait_until_published(self) -> None:
        """Wait until ingestion can see all feedback."""
        from lastaisle.collect.landing import UNFINISHED

        folder = self.settings.home / "feedback"
        if not wait_until(lambda: not any(folder.rglob(f"*{UNFINISHED}")), PUBLISHED_TIMEOUT, pause=0.1):
            raise ServiceError(
                f"the service keeps feedback open in {folder} for more than {PUBLISHED_TIMEOUT:.0f} s; see "
                f"{self.settings.home / 'logs' / 'serve.log'}"
            )

    def _keep_options(self) -> None:
        """Keep the shop's options, or refuse the days of another shop; only the number of days may change."""
        wanted = {**asdict(self.options), "start": self.options.start.isoformat()}
        del wanted["days"]
        path = self._folder / "shop.json"
        if not path.exists():
            self._write(path.name, wanted)
            return
        kept = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name, value in wanted.items() if kept.get(name) != value]
        if differing:
            told = ", ".join(f"{name} {kept.get(name)} and not {wanted[name]}" for name in differing)
            raise SourceError(
                f"{self._folder} holds the days of another shop, with {told}: choose another LASTAISLE_HOME, "
                f"or remove {self.settings.home}"
            )

    def _file_of(self, number: int) -> Path:
        return self._folder / f"{self.days[number].isoformat()}.json"

    def _keep(self, number: int, over: FinishedDay) -> None:
        self._write(self._file_of(number).name, {**asdict(over), "day": over.day.isoformat()})

    def _write(self, name: str, content: object) -> None:
        from lastaisle.simulate.write import write_whole

        write_whole(self._folder / name, [json.dumps(content)])

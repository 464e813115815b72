"""What the tests of rights share: a shop with two shoppers, and the desk that works on their requests."""

from __future__ import annotations

import json

import pytest

from lastaisle.privacy.accesses import account
from lastaisle.rights.work import Desk
from lastaisle.settings import Settings
from tests.privacy.worlds import World, event

ANNA, BERTA = "anna@example.org", "berta@example.org"


class Shop(World):
    """A world whose home, lake and keys are those of settings."""

    @property
    def settings(self) -> Settings:
        return Settings.of(
            home=self.folder,
            lake=self.lake.url,
            key_file=str(self.folder / "keys.json"),
            raw_readers=account(),
        )

    @property
    def desk(self) -> Desk:
        return Desk.of(self.settings, self.lake)

    def _write(self, *events: dict) -> str:
        """Write a log outside the home: the shop keeps its logs itself."""
        self.files += 1
        path = self.folder.parent / f"log-{self.folder.name}-{self.files}.jsonl"
        path.write_text("".join(f"{json.dumps(event)}\n" for event in events))
        return str(path)

    def users(self) -> set[str | None]:
        return set(self.lake.scan("raw_events")["user_id"].to_pylist())


def fill(shop: Shop) -> Shop:
    """Give Anna three events, one of them in her session without her id; Berta two; each a broken row."""
    shop.ingest(
        event("a", session_id="visit-of-anna"),
        event("b", 1, session_id="visit-of-anna", user_id=None),
        event("c", 2),
        event("d", 3, user_id=BERTA),
        event("e", 4, user_id=BERTA),
        event("f", 5, user_id=BERTA, price=-1),
        event("g", 6, price=-1),
    )
    return shop


@pytest.fixture
def shop(tmp_path) -> Shop:
    return fill(Shop(tmp_path / "home"))

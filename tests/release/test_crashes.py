"""Each point between two writes of a move: after a kill and a second run, ledger, aliases and marks agree."""

from dataclasses import replace

import pytest

from lastaisle.lake import Lake
from lastaisle.registry.ledger import Ledger
from lastaisle.release import by_hand, release, rollback
from tests.release.test_by_hand import Aliases, written

STEPS = ("promote", "rollback", "put_back", "adopt")


class KilledError(BaseException):
    """The process is gone."""


class Registry(Aliases):
    """A registry whose writes can be cut off: the `last`th write happens, and no other."""

    last: int | None = None
    writes = 0
    told: str | None = None

    def cut(self, write):
        self.writes += 1
        if self.last is not None and self.writes > self.last:
            raise KilledError
        write()

    def set_aliases(self, wanted):
        for alias, version in wanted.items():
            if self.held.get(alias) != version:
                self.cut(lambda alias=alias, version=version: self.held.update({alias: version}))
                self.held = {name: holder for name, holder in self.held.items() if holder}
        return {}

    def mark_aliases(self, move_id):
        if self.mark != move_id:
            self.cut(lambda: setattr(self, "mark", move_id))

    def are_states_told(self, move_id):
        return self.told == move_id

    def mark_states_told(self, move_id):
        self.cut(lambda: setattr(self, "told", move_id))

    def aliases(self):
        return dict(self.held)

    def run_of(self, version):
        return self.find_run_of(version)


@pytest.fixture
def step(tmp_path, monkeypatch):
    """Run one step from the same start, cut off after some writes; return the registry and the ledger."""
    for module, name, value in (
        (by_hand, "SETTLED_AFTER", 0.0),
        (by_hand, "require_servable", lambda *_: "key"),
        (rollback, "require_servable", lambda *_: "key"),
        (rollback, "expected_standing", lambda ledger, _: ledger.standing()),
        (rollback, "_say_forced", lambda *_: None),
        (release, "present_standing", lambda *_, **__: None),
        (release, "online_alias", lambda *_: {}),
        (release, "tell_states", lambda *_: True),
    ):
        monkeypatch.setattr(module, name, value)

    def begin(name, number):
        ledger, registry = Ledger(Lake(str(tmp_path / f"{name}{number}")), "checkout-recommender"), Registry()
        for before, version in ((None, "1"), ("1", "2"), ("2", "3")):
            ledger.write(written("promote", before, version))
        registry.set_as(ledger)
        if name in ("put_back", "adopt"):
            registry.held |= {"champion": "1", "previous": "3"}
            registry.alias_moved_by_hand = name
        append = ledger.lake.append

        def appended(*words, **options):
            done = []
            registry.cut(lambda: done.append(append(*words, **options)))
            return done[0]

        monkeypatch.setattr(ledger.lake, "append", appended)
        return ledger, registry

    return begin


def run(name, ledger, registry):
    if name == "promote":
        ledger.write(written("promote", "3", "4"))
    if name == "rollback":
        rollback.rollback(
            ledger.lake, registry, reason="bad", actor="tester", dry_run=False, request_id="manual__1"
        )
    release.sync_aliases(ledger.lake, registry)


def state(ledger, registry):
    moves = [replace(move, moved_at=None) for move in ledger.moves()]
    return moves, registry.held, registry.mark, registry.told, ledger.check().broken


@pytest.mark.parametrize("name", STEPS)
def test_a_step_that_was_killed_anywhere_ends_as_an_undisturbed_step(step, name):
    ledger, registry = step(name, "undisturbed")
    run(name, ledger, registry)
    expected, writes = state(ledger, registry), registry.writes
    assert writes >= 3
    assert expected[1] == {alias: holder for alias, holder in ledger.standing().aliases.items() if holder}
    assert expected[2] == expected[3] == ledger.moves()[-1].move_id
    assert expected[4] == ()
    for last in range(writes):
        ledger, registry = step(name, last)
        registry.last = last
        with pytest.raises(KilledError):
            run(name, ledger, registry)
        registry.last = None
        run(name, ledger, registry)
        assert state(ledger, registry) == expected, f"killed after write {last}"

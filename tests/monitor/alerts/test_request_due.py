"""The rule request_due: a day is the target, and the legal month is critical; an ended request is quiet."""

from datetime import timedelta

from lastaisle.rights.inbox import Waiting
from lastaisle.rights.requests import DONE, FAILED, WORKING, advance, register

from .conftest import DAY, HOUR, NOW

NAME = "0123456789abcdef"
SCOPE = (("request", NAME),)


def asked(world, at=NOW):
    register(world.lake, Waiting(NAME, "erase", "clerk", at, world.lake.url, ("anna@example.org",)), 28)


def test_a_request_raises_after_a_day_and_is_critical_in_the_last_week(world):
    assert world.check("request_due") == {}
    asked(world)
    world.now = NOW + DAY
    assert world.check("request_due") == {}
    world.now = NOW + DAY + HOUR
    found = world.check("request_due")[SCOPE]
    assert (found.severity, found.since) == ("warning", NOW)
    assert "waits for 25 hours, and it is due by" in found.summary
    world.now = NOW + 21 * DAY
    assert world.check("request_due")[SCOPE].severity == "warning"
    world.now = NOW + 21 * DAY + timedelta(minutes=1)
    assert world.check("request_due")[SCOPE].severity == "critical"
    world.now = NOW + 29 * DAY
    assert "it was due by" in world.check("request_due")[SCOPE].summary


def test_limits_are_options(world):
    asked(world)
    world.now = NOW + 2 * HOUR
    assert list(world.check("request_due", waiting_hours=1)) == [SCOPE]
    assert world.check("request_due", critical_days=28)[SCOPE].severity == "critical"


def test_a_failed_request_says_why_and_an_ended_request_is_quiet(world):
    asked(world)
    world.now = NOW + 2 * DAY
    advance(world.lake, NAME, WORKING, actor="clerk")
    advance(world.lake, NAME, FAILED, actor="clerk", problem="LakeConflictError: others were faster")
    assert "The last try failed: LakeConflictError" in world.check("request_due")[SCOPE].summary
    advance(world.lake, NAME, WORKING, actor="clerk")
    advance(world.lake, NAME, DONE, actor="clerk")
    assert world.check("request_due") == {}

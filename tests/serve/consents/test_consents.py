"""How a service follows the table `consents`, and adds to it, in this process with a real table."""

import asyncio
import shutil
from datetime import UTC, datetime, timedelta

import pyarrow.compute as pc
import pytest

from lastaisle.lake import Lake
from lastaisle.lake.reader import LakeReader
from lastaisle.lake.tables import CONSENTS
from lastaisle.privacy.consents import Decision, record
from lastaisle.serve.consents import consents as module
from lastaisle.serve.consents import followed
from lastaisle.serve.consents.consents import Consents
from lastaisle.web.refusal import StorageError

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)
ANNA, BEN, VISIT = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def lake(tmp_path):
    (tmp_path / "lake").mkdir()
    return Lake(str(tmp_path / "lake"))


def decision(who=ANNA, minutes=0, *, granted=False, purpose="personalization"):
    user, visit = (None, who) if who == VISIT else (who, None)
    return Decision(user, visit, purpose, granted, NOON + timedelta(minutes=minutes), "request")


def following(lake):
    consents = Consents(lake, 0.05)
    consents.look()
    return consents


def why(consents, *names, purposes=("personalization",)):
    return consents.refusal(names, *purposes)


def test_nobody_refuses_before_the_first_row_and_a_row_counts_at_the_next_look(lake):
    consents = following(lake)
    assert consents.has_looked and consents.problem == ""
    assert why(consents, ANNA) == ""
    record(lake, [decision(), decision(VISIT), decision(BEN, purpose="analytics")], 1)
    assert why(consents, ANNA) == ""
    consents.look()
    assert [why(consents, name) for name in (ANNA, BEN, VISIT)] == ["withdrawn", "", "withdrawn"]
    assert why(consents, BEN, purposes=("analytics", "personalization")) == "withdrawn"
    assert why(consents, BEN, VISIT) == "withdrawn", "the visit withdrew, whoever the shopper is"
    assert why(consents) == ""
    record(lake, [decision(minutes=1, granted=True)], 1)
    consents.look()
    assert why(consents, ANNA) == ""


def test_until_the_first_look_succeeds_everybody_counts_as_refusing(lake, tmp_path):
    consents = Consents(lake, 0.05)
    assert why(consents, ANNA) == "unknown"
    assert not consents.has_looked
    (tmp_path / "lake" / CONSENTS).write_text("a file in the place of the table")
    consents.look()
    assert why(consents, ANNA) == "unknown"
    assert consents.has_looked
    assert "no list is personal until then" in consents.problem
    (tmp_path / "lake" / CONSENTS).unlink()
    consents.look()
    assert (why(consents, ANNA), consents.problem) == ("", "")


def test_while_the_table_cannot_be_read_or_is_gone_the_last_decisions_go_on(lake, tmp_path, monkeypatch):
    record(lake, [decision()], 1)
    consents = following(lake)
    monkeypatch.setattr(module, "SURE_SECONDS", 0)
    kept = tmp_path / "elsewhere"
    shutil.move(tmp_path / "lake" / CONSENTS, kept)
    consents.look()
    assert why(consents, ANNA) == "withdrawn"
    assert "the last known decisions go on" in consents.problem and "is gone" in consents.problem
    shutil.move(kept, tmp_path / "lake" / CONSENTS)
    consents.look()
    assert (why(consents, ANNA), consents.problem) == ("withdrawn", "")


def test_a_look_reads_only_new_files_and_none_while_nothing_changed(lake, monkeypatch):
    record(lake, [decision()], 1)
    consents = following(lake)
    found = []
    monkeypatch.setattr(
        module, "read_new", lambda *given: found.append(followed.read_new(*given)) or found[-1]
    )
    consents.look()
    assert found == []
    record(lake, [decision(BEN)], 1)
    consents.look()
    assert [len(part.names) for part in found[0].parts["personalization"]] == [1]
    assert not found[0].anew
    assert [why(consents, name) for name in (ANNA, BEN)] == ["withdrawn", "withdrawn"]


def test_rows_that_are_deleted_or_joined_are_read_again(lake):
    record(lake, [decision()], 1)
    record(lake, [decision(BEN)], 1)
    consents = following(lake)
    lake.table(CONSENTS).optimize.compact()
    consents.look()
    assert [why(consents, name) for name in (ANNA, BEN)] == ["withdrawn", "withdrawn"]
    rows = lake.scan(CONSENTS)
    lake.overwrite(CONSENTS, rows.filter(pc.equal(rows["user_id"], BEN)), key="erased")
    consents.look()
    assert [why(consents, name) for name in (ANNA, BEN)] == ["", "withdrawn"]


def test_a_decision_is_durable_and_honoured_when_it_is_recorded(lake):
    consents = following(lake)

    async def decide():
        many = [consents.record([decision(f"{number:032x}")], 1) for number in range(30)]
        await asyncio.gather(consents.record([decision(), decision(purpose="sale")], 7), *many)

    asyncio.run(decide())
    assert why(consents, ANNA) == "withdrawn"
    rows = lake.scan(CONSENTS)
    assert rows.num_rows == 32
    assert set(pc.unique(rows["key_version"]).to_pylist()) == {1, 7}
    assert lake.version(CONSENTS) <= 3, "decisions that come together share a commit"
    other = following(lake)
    assert why(other, ANNA) == why(other, f"{29:032x}") == "withdrawn"


def test_an_older_decision_that_is_recorded_late_changes_nothing(lake):
    consents = following(lake)
    asyncio.run(consents.record([decision(minutes=5)], 1))
    asyncio.run(consents.record([decision(minutes=4, granted=True)], 1))
    assert why(consents, ANNA) == why(following(lake), ANNA) == "withdrawn"


@pytest.mark.parametrize("cause", ["no lake", "a reader"])
def test_a_decision_that_cannot_be_kept_is_refused_and_not_honoured(tmp_path, cause):
    url = str(tmp_path / "none")
    consents = following(Lake(url) if cause == "no lake" else LakeReader(url))
    with pytest.raises(StorageError, match="not durable"):
        asyncio.run(consents.record([decision()], 1))
    assert why(consents, ANNA) == ""
    assert not (tmp_path / "none").exists(), "a service makes no lake"


def test_an_unforeseen_failure_reaches_the_caller(lake, monkeypatch):
    consents = following(lake)

    def fail(rows):
        raise RuntimeError("unforeseen")

    monkeypatch.setattr(consents, "_commit", fail)
    with pytest.raises(RuntimeError, match="unforeseen"):
        asyncio.run(asyncio.wait_for(consents.record([decision()], 1), 5))


def test_a_decision_is_honoured_though_a_read_that_began_before_it_ends_after_it(lake, monkeypatch):
    record(lake, [decision(BEN)], 1)
    consents = Consents(lake, 60)

    def read_slowly(*given):
        found = followed.read_new(*given)
        asyncio.run(consents.record([decision()], 1))
        return found

    monkeypatch.setattr(module, "read_new", read_slowly)
    consents.look()
    assert [why(consents, name) for name in (ANNA, BEN)] == ["withdrawn", "withdrawn"]

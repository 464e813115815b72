"""Replay on a made-up shop whose items follow each other in a cycle that shifts from period to period."""

import dataclasses

import numpy as np
import pytest

from lastaisle.errors import NotEnoughDataError, SourceError
from lastaisle.replay.replay import Period, read_periods, replay
from lastaisle.replay.strategies import FirstModel, Online
from models.data.sequences import Examples, SessionLog, next_item_examples
from models.options import TrainingOptions

pytestmark = pytest.mark.training


def period(number, step, sessions=60, items=30):
    """In this period item n is followed by item n + step."""
    generator = np.random.default_rng(number)
    starts = generator.integers(items, size=sessions)
    lists = [[f"i{(start + step * place) % items}" for place in range(4)] for start in starts]
    return Period(f"p{number}", SessionLog.from_lists(lists, ended_at=number * 1000 + np.arange(sessions)))


def test_a_frozen_model_misses_a_change_and_a_trained_model_does_not():
    periods = [period(0, 1), period(1, 7), period(2, 7)]
    result = replay(periods, architecture="cooccurrence")
    last = result["periods"][-1]
    assert last["trained_until"] == "p1"
    assert last["targets"] == 180
    strategies = last["strategies"]
    assert strategies["frozen"]["mrr@20"] < 0.2
    assert strategies["scratch"]["mrr@20"] > 0.5
    assert strategies["incremental"]["mrr@20"] > 0.5
    assert strategies["frozen"]["train_seconds"] == 0.0
    assert strategies["incremental"]["precision@20"] == pytest.approx(
        strategies["incremental"]["recall@20"] / 20
    )


def test_the_summary_averages_periods_and_adds_seconds():
    result = replay([period(0, 1), period(1, 1), period(2, 2)], ("frozen",), architecture="popularity")
    rows = [entry["strategies"]["frozen"] for entry in result["periods"]]
    assert len(rows) == 2
    assert result["summary"]["frozen"] == {
        "recall@20": pytest.approx((rows[0]["recall@20"] + rows[1]["recall@20"]) / 2),
        "precision@20": pytest.approx((rows[0]["precision@20"] + rows[1]["precision@20"]) / 2),
        "mrr@20": pytest.approx((rows[0]["mrr@20"] + rows[1]["mrr@20"]) / 2),
        "train_seconds": pytest.approx(rows[0]["train_seconds"] + rows[1]["train_seconds"]),
    }


def test_every_strategy_starts_from_the_same_first_model():
    first = replay([period(0, 1), period(1, 3)], architecture="cooccurrence")["periods"][0]["strategies"]
    metrics = [
        {name: value for name, value in row.items() if name != "train_seconds"} for row in first.values()
    ]
    assert list(first) == ["frozen", "scratch", "incremental", "ensemble"], "counts have no embeddings"
    assert metrics[0] == metrics[1] == metrics[2]
    assert metrics[3] == pytest.approx(metrics[0], abs=0.02), "one member: only ties may differ"
    assert first["frozen"]["train_seconds"] == first["incremental"]["train_seconds"] > 0


def test_the_summary_has_all_strategies_or_only_the_requested_ones():
    options = TrainingOptions(embedding_size=16, epochs=2, warm_epochs=1, negatives=32)
    periods = [period(0, 1), period(1, 7), period(2, 7)]
    result = replay(periods, options=options)
    names = ["frozen", "scratch", "incremental", "online", "ensemble"]
    assert list(result["summary"]) == names
    assert [list(entry["strategies"]) for entry in result["periods"]] == [names, names]
    assert {tuple(row) for row in result["summary"].values()} == {
        ("recall@20", "precision@20", "mrr@20", "train_seconds")
    }
    assert list(replay(periods, ("ensemble",), architecture="cooccurrence")["summary"]) == ["ensemble"]
    assert "ensemble" not in replay(periods, architecture="popularity")["summary"]


def test_online_learns_only_from_sessions_that_ended_before():
    """All sessions of a period are alike, so sessions that end early help to predict later ones."""
    options = TrainingOptions(embedding_size=16, epochs=2, negatives=32)
    old, new = period(0, 1, sessions=150), period(1, 11, sessions=480)
    at_once = SessionLog.from_lists(list(new.log), ended_at=new.log.ended_at[-1] + np.zeros(480))
    rows = {}
    for name, log in (("one by one", new.log), ("at once", at_once)):
        result = replay([old, Period(name, log)], ("incremental", "online"), options=options)
        rows[name] = result["periods"][0]["strategies"]
    for row in rows.values():
        assert row["incremental"]["mrr@20"] == rows["at once"]["incremental"]["mrr@20"]
    assert rows["at once"]["online"]["mrr@20"] == rows["at once"]["incremental"]["mrr@20"]
    assert rows["one by one"]["online"]["mrr@20"] > rows["one by one"]["incremental"]["mrr@20"] + 0.03


def test_online_still_knows_returning_shoppers_after_the_next_training():
    """Each of six shoppers views five items of their own; all sessions of the last period end at once."""
    options = TrainingOptions(embedding_size=16, epochs=2, warm_epochs=1, negatives=32)
    users = np.array([f"u{number % 6}" for number in range(300)], dtype=object)
    lists = [[f"i{5 * (number % 6) + (number + place) % 5}" for place in range(3)] for number in range(300)]
    logs = [
        SessionLog.from_lists(
            lists, 1000 * at + (np.full(300, 500) if at == 2 else np.arange(300)), {"user": users}
        )
        for at in range(3)
    ]
    first_items = Examples(logs[2], np.arange(300, dtype=np.int32), np.zeros(300, np.int32))
    named = Online(FirstModel("attention", options))
    for at in (0, 1):
        named.learn(SessionLog.concat(logs[: at + 1]), logs[at])
        if at == 0:
            named.rank(logs[1], next_item_examples(logs[1]))
    ranking, _ = named.rank(logs[2], first_items)
    assert ranking.ranks.max() <= 10
    assert ranking.ranks.mean() < 5
    nobody = dataclasses.replace(logs[2], context={"user": np.full(300, None)})
    ranking, _ = named.rank(nobody, Examples(nobody, first_items.session, first_items.position))
    assert ranking.ranks.mean() == pytest.approx(15.5), "all thirty items are equally popular"


def test_a_file_of_sessions_is_cut_into_tenths_in_order(tmp_path):
    file = tmp_path / "sessions.txt"
    file.write_text("".join(f"a{n} b\n" for n in range(25)) + "\n")
    periods = read_periods("sessions", str(file))
    assert [entry.label for entry in periods] == [f"{n}/10" for n in range(1, 11)]
    assert [session[0] for entry in periods for session in entry.log] == [f"a{n}" for n in range(25)]
    ends = np.concatenate([entry.log.ended_at for entry in periods])
    assert (np.diff(ends) > 0).all()


def test_a_single_period_and_an_absent_file_are_refused(tmp_path):
    with pytest.raises(NotEnoughDataError, match="received 1"):
        replay([period(0, 1)])
    with pytest.raises(SourceError, match=r"absent\.txt"):
        read_periods("sessions", str(tmp_path / "absent.txt"))

"""A version that scores live questions unseen: what is compared and counted, and that no answer waits."""

from __future__ import annotations

import io
import json
import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from lastaisle.experiments.traffic import Arm, Trial
from lastaisle.serve.following.errors import VersionUnavailableError
from lastaisle.serve.health.counts import Counts, HealthCounts, Source
from lastaisle.serve.questions import Asked, Recommended, read_question
from lastaisle.serve.shadow.message import from_line, to_line, unseen
from lastaisle.serve.shadow.process import ShadowScorer, overlap_of
from lastaisle.serve.shadow.sender import Shadow
from tests.serve.toys import Gate, ToyModel, version_of
from tests.services.waiting import wait_until

SHADOW = Source("shop", "8", "shadow", "shadow-8")


class Backwards(ToyModel):
    """Scores as the toy model does, for the items in the reverse order."""

    def score(self, sessions):
        scores, scored = super().score(sessions)
        scores[:, 1:] = scores[:, :0:-1].copy()
        return scores, scored


class InThisProcess:
    """Stands for the process of the shadow, and scores where the questions are handed over."""

    def __init__(self, scorer: ShadowScorer) -> None:
        self.scorer, self.stdin, self.stdout = scorer, self, io.BytesIO()

    def write(self, lines: bytes) -> None:
        for line in lines.split(b"\n")[:-1]:
            self.scorer.score(from_line(line))

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def wait(self, seconds: float) -> int:
        return 0


class Shadowed:
    """A service with a shadow.

    Attributes:
        model: the shadow's model.
        trial: the shadow that runs.
        client: the service.
    """

    def __init__(self, make_service, model: ToyModel | None = None, waiting: int = 64, **trial) -> None:
        self.model = model or ToyModel()
        since = datetime.now(UTC) - timedelta(hours=1)
        arms = (Arm(name="shadow", version="8"),)
        fields = {"name": "shadow-8", "kind": "shadow", "arms": arms, "starts_at": since, **trial}
        self.trial: Trial | None = Trial(**fields)
        self.counts = HealthCounts()
        self.seen = Counts()
        self.scorer = ShadowScorer(self.load, "shop", self.counts)
        process = InThisProcess(self.scorer)
        self.shadow = Shadow(lambda: self.trial, lambda: process, "shop", self.counts, waiting)
        self.client = make_service(listeners=(self.shadow,))

    def load(self, number: str):
        return version_of(self.model, number)

    def counted(self) -> Counts:
        """All that was counted so far."""
        for (_, source), counts in self.counts.take().items():
            assert source == SHADOW
            self.seen.add(counts)
        return self.seen

    def wait_for(self, number: int) -> Counts:
        wait_until("all are scored", lambda: self.counted().requests + self.counted().dropped >= number)
        return self.seen


@pytest.fixture
def make_shadowed(make_service):
    return lambda *given, **named: Shadowed(make_service, *given, **named)


def test_the_shadow_makes_the_list_of_each_question_and_shows_it_to_nobody(make_shadowed):
    shadowed = make_shadowed(Backwards())
    assert shadowed.client.ids("i3", k=4, cart=["i6"]) == ["i4", "i5", "i7", "i8"]
    counts = shadowed.wait_for(1)
    assert shadowed.model.asked == [[(["i3"], {})]]
    assert (counts.requests, counts.errors, counts.empty_lists, counts.dropped) == (1, 0, 0, 0)
    assert sum(counts.latency_counts) == 1
    assert counts.latency_seconds > 0
    assert (counts.compared, counts.overlap_sum) == (1, 0.75), "i7, i5, i4, i3 against i4, i5, i7, i8"


def test_the_same_model_overlaps_whole(make_shadowed):
    shadowed = make_shadowed()
    for number in range(1, 6):
        shadowed.client.ask(f"i{number}", k=7, exclude=["i9"])
    counts = shadowed.wait_for(5)
    assert (counts.requests, counts.compared, counts.overlap_sum) == (5, 5, 5.0)


@pytest.mark.parametrize(
    ("made", "shown", "share"),
    [
        ("abc", "abc", 1.0),
        ("abc", "cba", 1.0),
        ("abc", "abd", 2 / 3),
        ("ab", "abcd", 0.5),
        ("abcd", "", 0.0),
        ("", "", 1.0),
        ("abcdefghijk", "abcdefghij", 1.0),
    ],
)
def test_the_overlap_is_the_share_of_common_items(made, shown, share):
    items = [Recommended(item, 1.0, "model") for item in made]
    assert overlap_of(items, list(shown)) == pytest.approx(share)


def test_a_share_of_the_questions_is_scored(make_shadowed):
    shadowed = make_shadowed(share=0.25)
    shadowed.shadow._random.seed(3)
    for _ in range(400):
        shadowed.client.ask("i1", k=1)
    time.sleep(0.3)
    counts = shadowed.counted()
    assert 70 <= counts.requests + counts.dropped <= 130


@pytest.mark.parametrize("asked", [{"consent": False}, {"policy": "popular"}, {"placement": "cart"}])
def test_questions_that_no_model_may_see_and_those_of_other_placements_are_left_out(make_shadowed, asked):
    shadowed = make_shadowed(placements=("checkout",))
    shadowed.client.ask("i1", k=1, **asked)
    shadowed.client.ask("i2", k=1)
    shadowed.wait_for(1)
    assert [session for [(session, _)] in shadowed.model.asked] == [["i2"]]


def test_a_shadow_that_has_ended_or_is_gone_scores_nothing(make_shadowed):
    shadowed = make_shadowed(stops_at=datetime.now(UTC))
    shadowed.client.ask("i1")
    shadowed.trial = None
    shadowed.client.ask("i1")
    time.sleep(0.1)
    assert (shadowed.model.asked, shadowed.counted()) == ([], Counts())


def test_no_answer_waits_for_a_slow_shadow_and_what_finds_no_room_is_counted(make_shadowed):
    shadowed, gate = make_shadowed(waiting=3), Gate()
    shadowed.model.wait = gate
    shadowed.client.ask("i1")
    assert gate.reached.wait(10), "the shadow is at work"
    began = time.monotonic()
    for _ in range(20):
        shadowed.client.ask("i1")
    assert time.monotonic() - began < 5
    assert shadowed.counted().dropped == 17
    gate.opened.set()
    assert shadowed.wait_for(21).requests == 4


def test_a_shadow_that_fails_counts_errors_is_told_once_and_harms_no_answer(make_shadowed, caplog):
    shadowed = make_shadowed()

    def fail() -> None:
        raise FloatingPointError("secret-anna")

    shadowed.model.wait = fail
    for _ in range(3):
        assert shadowed.client.ids("i3", k=1) == ["i4"]
    counts = shadowed.wait_for(3)
    assert (counts.requests, counts.errors, counts.compared) == (3, 3, 0)
    told = [record.getMessage() for record in caplog.records if record.name.startswith("lastaisle")]
    assert told == [
        "the shadow, version 8 of shop, fails on a question that was answered: FloatingPointError"
    ], "the message of the error may hold values of the request"
    shadowed.model.wait = lambda: None
    shadowed.client.ask("i3")
    assert shadowed.wait_for(4).errors == 3


def test_a_question_that_the_shadow_would_refuse_is_an_error_of_the_shadow(make_shadowed):
    shadowed = make_shadowed(ToyModel(columns={"country": "session"}))
    shadowed.client.service.model.columns["season"] = "session"
    shadowed.client.ask("i3", context={"season": "spring"})
    assert shadowed.wait_for(1).errors == 1


def test_an_empty_list_is_counted(make_shadowed):
    model = ToyModel()
    model.items = np.array(["", "i3"], dtype=object)
    model.index = {"i3": 1}
    shadowed = make_shadowed(model)
    shadowed.client.ask("i3", exclude=["i3"])
    counts = shadowed.wait_for(1)
    assert (counts.requests, counts.empty_lists, counts.overlap_sum) == (1, 1, 0.0)


def test_an_explanation_is_not_made_for_nobody(make_shadowed):
    shadowed = make_shadowed()
    shadowed.client.ask("i3", "i4", explain=True)
    shadowed.wait_for(1)
    assert len(shadowed.model.asked) == 1


def test_at_the_end_what_waits_is_dropped_and_counted(make_shadowed):
    shadowed, gate = make_shadowed(), Gate()
    shadowed.model.wait = gate
    shadowed.client.ask("i1")
    assert gate.reached.wait(10)
    for _ in range(4):
        shadowed.client.ask("i1")
    shadowed.shadow._stopped.set()
    gate.opened.set()
    shadowed.shadow.stop()
    assert (shadowed.counted().requests, shadowed.seen.dropped) == (1, 4)
    assert shadowed.shadow.problem == ""


def test_a_version_that_cannot_be_loaded_is_named_its_questions_are_counted_and_it_is_tried_again():
    said, counts, tried = [], HealthCounts(), []

    def load(number: str):
        tried.append(number)
        if len(tried) == 1:
            raise VersionUnavailableError("MLflow is away")
        return version_of(ToyModel(), number)

    scorer = ShadowScorer(load, "shop", counts, pause=0.05, tell=said.append)
    message = unseen("shadow-8", "8", asked("i3"), ["i4"])
    scorer.score(message)
    scorer.score(message)
    time.sleep(0.1)
    scorer.score(message)
    scorer.score(message)
    assert said == ["the shadow scores nothing: MLflow is away", ""]
    assert tried == ["8", "8"]
    scorer.score(unseen("shadow-9", "9", asked("i3"), ["i4"]))
    assert tried == ["8", "8", "9"]
    found = {source.version: (each.requests, each.dropped) for (_, source), each in counts.take().items()}
    assert found == {"8": (2, 2), "9": (1, 0)}


def asked(*items: str) -> Asked:
    return read_question(json.dumps({"items": items, "k": 1}).encode(), lambda *_: "")


def test_a_question_arrives_in_the_other_process_as_it_was():
    body = {"items": ["a", None, "b\n\u2028"], "k": 3, "cart": ["c"], "context": {"price": [1.5, None]}}
    question = read_question(json.dumps(body).encode(), lambda *_: "")
    question.unit = "0" * 32
    line = to_line(unseen("shadow-8", "8", question, ["x"]))
    assert line.count(b"\n") == 1
    assert b"0000" not in line, "the shopper reaches the model by the context alone"
    message = from_line(line)
    question.unit, question.explain = None, False
    assert (message.trial, message.version, message.asked(), message.shown) == (
        "shadow-8",
        "8",
        question,
        ["x"],
    )

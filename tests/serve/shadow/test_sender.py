"""The process of the shadow: when it runs, and what happens when it ends or hangs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from lastaisle.experiments.traffic import Arm, Trial
from lastaisle.serve.health.counts import HealthCounts
from lastaisle.serve.questions import Answer, read_question
from lastaisle.serve.shadow import sender
from lastaisle.serve.shadow.sender import Shadow
from tests.services.waiting import wait_until

TRIAL = Trial(
    name="shadow-8", kind="shadow", arms=(Arm(name="shadow", version="8"),),
    starts_at=datetime(2026, 1, 1, tzinfo=UTC),
)  # fmt: skip
QUESTION = read_question(json.dumps({"items": ["a"]}).encode(), lambda *_: "")
ANSWER = Answer("7-m-" + "0" * 24, "7", "shop", "model", [])
#: Writes its input into the file that it is given.
KEEPS = "import sys, shutil; shutil.copyfileobj(sys.stdin.buffer, open(sys.argv[1], 'ab'))"


class Sender:
    """A `Shadow` with a process of a line of Python."""

    def __init__(self, program: str, *arguments: str) -> None:
        self.program, self.arguments = program, arguments
        self.trial: Trial | None = TRIAL
        self.started: list[subprocess.Popen[bytes]] = []
        self.counts = HealthCounts()
        self.shadow = Shadow(lambda: self.trial, self.start_process, "shop", self.counts, waiting=4)
        self.shadow.start()

    def start_process(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", self.program, *self.arguments]
        pipe = subprocess.PIPE
        self.started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL))
        return self.started[-1]

    def answer(self, times: int = 1) -> None:
        for _ in range(times):
            self.shadow.answered(QUESTION, ANSWER, 0.001)

    def dropped(self) -> int:
        return sum(each.dropped for each in self.counts.take().values())


@pytest.fixture
def make_sender(monkeypatch):
    monkeypatch.setattr(sender, "LOOK_SECONDS", 0.05)
    made: list[Sender] = []

    def make(*given: str) -> Sender:
        made.append(Sender(*given))
        return made[-1]

    yield make
    for each in made:
        each.shadow.stop()
        assert [process.poll() is None for process in each.started] == [False] * len(each.started)


def test_the_process_runs_from_the_first_question_until_the_shadow_ends(make_sender, tmp_path):
    given = make_sender(KEEPS, str(tmp_path / "lines"))
    assert given.started == []
    given.answer(3)
    wait_until("the process started", lambda: given.started)
    time.sleep(0.2)
    given.trial = None
    wait_until("the process ended", lambda: given.started[0].poll() == 0)
    lines = [json.loads(line) for line in (tmp_path / "lines").read_text().splitlines()]
    assert [(line["trial"], line["version"], line["question"]["items"]) for line in lines] == [
        ("shadow-8", "8", ["a"])
    ] * 3
    given.trial = TRIAL
    given.answer()
    wait_until("another one started", lambda: len(given.started) == 2)
    assert (given.shadow.problem, given.dropped()) == ("", 0)


def test_a_process_that_ends_is_named_and_started_again_after_a_pause(make_sender, caplog):
    given = make_sender("raise SystemExit(3)")
    given.answer()
    wait_until("it ended", lambda: given.started and given.started[0].poll() is not None)

    def is_named() -> bool:
        given.answer()
        return "ended with 3" in given.shadow.problem

    wait_until("it is named", is_named)
    given.answer(3)
    time.sleep(0.2)
    assert len(given.started) == 1, "it is not started again at once"
    assert given.dropped() >= 3
    assert any("ended with 3" in record.message for record in caplog.records)
    wait_until("another one started", lambda: given.answer() or len(given.started) == 2, timeout=5)


def test_a_process_that_cannot_start_is_named(make_sender):
    given = make_sender("")

    def refuse() -> subprocess.Popen[bytes]:
        raise FileNotFoundError("there is no Python")

    given.shadow._start = refuse
    given.answer()
    wait_until("it is named", lambda: "cannot start: there is no Python" in given.shadow.problem)
    assert given.dropped() == 1


def test_the_process_says_what_does_not_work(make_sender):
    given = make_sender("import sys; print('MLflow is away', flush=True); sys.stdin.read()")
    given.answer()
    wait_until("it is named", lambda: given.shadow.problem == "MLflow is away")
    given.trial = None
    wait_until("it is over", lambda: given.shadow.problem == "")


def test_a_process_that_hangs_holds_up_neither_answers_nor_the_end(make_sender, monkeypatch):
    monkeypatch.setattr(sender, "STOP_SECONDS", 0.3)
    given = make_sender("import time; time.sleep(60)")
    began = time.monotonic()
    given.answer()
    wait_until("it started", lambda: given.started)
    question = read_question(json.dumps({"items": ["a" * 1000] * 200}).encode(), lambda *_: "")
    for _ in range(10):
        given.shadow.answered(question, ANSWER, 0.001)
    assert time.monotonic() - began < 5
    assert given.dropped() >= 4
    given.shadow.stop()
    assert time.monotonic() - began < 8
    assert given.started[0].poll() is not None

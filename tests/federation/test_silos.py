"""Four silos as processes of their own, with lakes of their own, learn one model with a coordinator."""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from lastaisle.federation.coordinator import train_in_silos
from lastaisle.lake import Lake
from models.federated.agreement import Agreement
from tests.services.silos import federation, users_can_differ
from tests.shops import made_up_shop

pytestmark = [pytest.mark.service, pytest.mark.training, pytest.mark.timeout(600)]

NAMES = ("east", "north", "south", "west")
GONE = "it left, or did not answer in time"
AGREEMENT = Agreement(
    "gru",
    {"embedding_size": 8, "dropout": 0.0},
    tuple(f"i{item}" for item in range(made_up_shop.ITEMS)),
    rounds=2,
    local_epochs=1,
    learning_rate=0.02,
    aggregation="mean",
    max_sessions=1000,
    window_start=made_up_shop.FIRST_DAY.isoformat(),
    window_end=made_up_shop.end_of(1).isoformat(),
    seen_until=made_up_shop.end_of(2).isoformat(),
)


def events_of(number):
    return made_up_shop.events(days=2, sessions=150 + 10 * number, seed=number)


@pytest.fixture(scope="module")
def silos():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as name:  # every silo's user may enter it, other than pytest's folders
        folder = Path(name)
        folder.chmod(0o755)
        with federation(folder, port, NAMES, events_of) as made:
            yield made


def run(silos, agreement, progress=None, **changes):
    with tempfile.TemporaryDirectory() as folder:
        return train_in_silos(agreement, silos.settings.replace(**changes), Path(folder), progress)


@pytest.fixture(scope="module")
def in_process():
    """The same training without processes."""
    from lastaisle.sessions.windows import Window, evaluation_sessions, training_sessions
    from models.data.sequences import decay_weights
    from models.federated.learner import Learner
    from models.federated.rounds import run_rounds

    start, end, until = (
        datetime.fromisoformat(text)
        for text in (AGREEMENT.window_start, AGREEMENT.window_end, AGREEMENT.seen_until)
    )
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, name in enumerate(NAMES):
            lake = Lake(f"{folder}/{name}")
            lake.append("events", events_of(number), key="made-up")
            log = training_sessions(lake, Window(start, end, 72.0), until, None).log
            weights = decay_weights(log.ended_at, end.astimezone(UTC).timestamp(), 72.0 * 3600)
            judging = evaluation_sessions(lake, end, until, None).log
            answers[name] = Learner(AGREEMENT, log, weights, judging).answer
    return run_rounds(AGREEMENT, answers)


def kill_when(silo, line):
    """Kill the process of a silo as soon as its log has a new line with this text; return the thread."""
    begin = silo.log.stat().st_size

    def watch():
        until = time.monotonic() + 300
        while line not in silo.log.read_bytes()[begin:].decode(errors="replace"):
            if time.monotonic() > until:
                return
            time.sleep(0.002)
        silo.process.send_signal(signal.SIGKILL)
        silo.process.wait()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_a_silo_that_is_killed_while_it_learns_does_not_stop_masked_rounds(silos, in_process):
    west = silos.silos["west"]
    watching = kill_when(west, "round 2 of 2 begins")
    outcome = run(silos, replace(AGREEMENT, aggregation="secure"), federation_round_seconds=200)
    watching.join(1)
    first, second = outcome.rounds
    assert (first["silos"], first["changed"], first["refused"]) == (4, True, {})
    assert west.process.returncode == -signal.SIGKILL
    assert "round 2 of 2: the update is made" not in west.log.read_text()
    assert (second["silos"], second["changed"]) == (3, True), "three silos are enough"
    assert second["refused"] == {"west": GONE}
    assert second["seconds"] < 100, "nobody waits the 200 s for a silo that is known to be gone"
    assert first["sessions"] == pytest.approx(660, rel=0.02), "the sum tells the sessions of all silos"
    assert first["recall"] == pytest.approx(in_process.rounds[0].recall, abs=0.02)
    assert first["loss"] == pytest.approx(in_process.rounds[0].loss, rel=0.02)
    assert first["length"] == pytest.approx(in_process.rounds[0].length, rel=0.02)
    assert "round 2 of 2: the update is made" in silos.silos["east"].log.read_text()


def test_processes_learn_what_one_process_learns_also_after_a_silo_started_again(silos, in_process):
    silos.join("west")
    told = []
    outcome = run(silos, AGREEMENT, lambda share, text: told.append((share, text)))
    assert [(done["silos"], done["refused"]) for done in outcome.rounds] == [(4, {}), (4, {})]
    assert outcome.sessions == in_process.rounds[0].sessions == 660
    for name, array in in_process.weights.items():
        np.testing.assert_allclose(outcome.weights[name], array, atol=1e-5)
    np.testing.assert_allclose(outcome.popularity, in_process.popularity, atol=1e-7)
    assert [done["recall"] for done in outcome.rounds] == pytest.approx(
        [done.recall for done in in_process.rounds], abs=0.01
    )
    assert told[-1] == (1.0, "round 2 of 2: 4 silos, 0 refused")


def test_the_user_of_a_silo_reads_its_own_files_and_none_of_another_silo(silos):
    if not users_can_differ():
        pytest.skip(
            "only root can give folders to other users, by setpriv; here all have one user and mode 0700"
        )

    def read(reader, file):
        command = silos.silos[reader].as_its_user(["cat", str(file)])
        done = subprocess.run(command, capture_output=True, check=False)
        return done.stdout, b"Permission denied" in done.stderr

    assert len({silo.user for silo in silos.silos.values()}) == len(NAMES)
    for owner, silo in silos.silos.items():
        rows = next((silo.settings.home / "lake").rglob("*.parquet"))
        for file in (rows, silo.settings.home / "silo.key"):
            content = file.read_bytes()
            for reader in NAMES:
                expected = (content, False) if reader == owner else (b"", True)
                assert read(reader, file) == expected, (reader, file)


def test_a_silo_runs_as_its_own_user(silos):
    east = silos.silos["east"]
    if not east.runs_as_user:
        pytest.skip("other users cannot run this Python, or root does not run the tests")
    status = Path(f"/proc/{east.process.pid}/status").read_text()
    assert f"Uid:\t{east.user}\t{east.user}" in status


def test_nothing_that_names_a_shopper_or_a_session_leaves_a_silo(silos):
    for silo in silos.silos.values():
        text = silo.log.read_text(errors="replace")
        assert "s0-1" not in text
        assert "u17" not in text
        assert "takes part with" in text

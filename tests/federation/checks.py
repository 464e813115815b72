"""Checks of what imports Flower; `test_in_environment.py` runs each in the environment `federated`."""

from __future__ import annotations

import asyncio
import sys
from copy import deepcopy

import numpy as np


def check_trimmed_mean_agrees_with_flower() -> None:
    from flwr.serverapp.strategy.fedtrimmedavg import trim_mean

    from models.federated.aggregation import aggregate

    updates = _updates(7)
    ours = aggregate(updates, "trimmed", 2).change["a"]
    theirs = trim_mean(np.stack([update.change["a"] for update in updates]), 2 / 7 + 1e-9)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def check_multi_krum_agrees_with_flower() -> None:
    from flwr.app import Array, ArrayRecord, RecordDict
    from flwr.serverapp.strategy.multikrum import select_multikrum

    from models.federated.aggregation import multi_krum

    updates = _updates(7)
    contents = [RecordDict({"w": ArrayRecord({"a": Array(one.change["a"])})}) for one in updates]
    theirs = select_multikrum(contents, 2, 5)
    chosen = {place for place, content in enumerate(contents) if any(content is one for one in theirs)}
    ours = multi_krum(updates, 2)
    assert {place for place, update in enumerate(updates) if any(update is one for one in ours)} == chosen


def check_masks_are_uniform_and_the_whole_secret_decides_them() -> None:
    from importlib import import_module

    from flwr.server.workflow.secure_aggregation import secaggplus_workflow

    from lastaisle.federation.flower.secure import masks

    client = import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
    assert client.secaggplus_mod.__globals__["pseudo_rand_gen"] is masks
    assert client.pseudo_rand_gen is secaggplus_workflow.pseudo_rand_gen is masks
    one, shape = masks(bytes(32), 2**32, [(100, 100), (3,), ()]), (100, 100)
    assert [array.shape for array in one] == [shape, (3,), ()]
    assert 0.48 < one[0].mean() / 2**32 < 0.52
    np.testing.assert_array_equal(masks(bytes(32), 2**32, [shape])[0], one[0])
    # Flower's own seed is the exclusive or of words of 32 bits: these two secrets had the same masks.
    swapped = masks(b"\1" * 4 + b"\2" * 4 + bytes(24), 2**32, [shape])[0]
    assert not np.array_equal(masks(b"\2" * 4 + b"\1" * 4 + bytes(24), 2**32, [shape])[0], swapped)


def check_masked_updates_add_up_whenever_a_silo_drops_out() -> None:
    from flwr.common.secure_aggregation.secaggplus_constants import Stage

    everybody = np.average([[1, 2], [3, 4], [5, 6], [9, 9]], axis=0, weights=[10, 20, 30, 40])
    survivors = np.average([[1, 2], [3, 4], [5, 6]], axis=0, weights=[10, 20, 30])
    for dies_at, expected, silos in (
        (None, everybody, 4),
        (Stage.SETUP, survivors, 3),
        (Stage.SHARE_KEYS, survivors, 3),
        (Stage.COLLECT_MASKED_VECTORS, survivors, 3),
        (Stage.UNMASK, everybody, 4),  # its update was in the sum already
    ):
        server, replies = _masked_round(dies_at)
        done = server.rounds[-1]
        assert (done.silos, done.changed) == (silos, True), (dies_at, done)
        assert set(done.refused) == ({"silo 4"} if dies_at else set()), (dies_at, done)
        np.testing.assert_allclose(server.weights["a"], expected, atol=1e-3, err_msg=str(dies_at))
        assert abs(done.sessions - (100 if silos == 4 else 60)) <= 1, (dies_at, done)
        assert abs(done.recall - 0.25) < 1e-3, (dies_at, done)
        assert all(told == 1 for told in replies), "a silo tells its sessions only in the sum"


def check_two_of_four_silos_do_not_unmask_a_sum() -> None:
    from flwr.common.secure_aggregation.secaggplus_constants import Stage

    server, _ = _masked_round(Stage.COLLECT_MASKED_VECTORS, dead=(3, 4))
    assert not server.rounds[-1].changed
    np.testing.assert_array_equal(server.weights["a"], [0, 0])


def _masked_round(dies_at: str | None, dead: tuple[int, ...] = (4,)) -> tuple[object, list[int]]:
    """Run one round of four silos in this process; some die at a stage."""
    from flwr.app import Context, Message, RecordDict
    from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
    from flwr.supercore.task_identity import TaskIdentity

    from lastaisle.federation.flower.secure import answer_masked, secure_round
    from models.federated.agreement import Agreement
    from models.federated.rounds import Server
    from models.federated.updates import Update

    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1
    values = {1: ([1, 2], 10), 2: ([3, 4], 20), 3: ([5, 6], 30), 4: ([9, 9], 40)}
    replies: list[int] = []

    class Fixed:
        """A silo with a fixed update."""

        def __init__(self, node: int) -> None:
            self.node = node

        def answer(self, text: str, number: int, weights: object, popularity: object) -> Update:
            change, sessions = values[self.node]
            return Update({"a": np.float32(change) / 4}, sessions, np.float32([0, 0.5]), 0.25)

    class InProcess:
        """A grid whose nodes answer at once, or never again once they are dead."""

        contexts = {node: Context(1, node, {}, RecordDict(), {}, 1) for node in values}  # noqa: RUF012
        stages = Stage.all()

        def send_and_receive(self, messages: list[Message], timeout: float | None = None) -> list[Message]:
            answers = []
            for message in map(deepcopy, messages):  # a silo changes what it received
                node = message.metadata.dst_node_id
                stage = message.content.config_records[RECORD_KEY_CONFIGS][Key.STAGE]
                late = dies_at is not None and self.stages.index(stage) >= self.stages.index(dies_at)
                if node in dead and late:
                    continue
                answers.append(answer_masked(message, self.contexts[node], Fixed(node)))  # type: ignore[arg-type]
                told = answers[-1].content.metric_records.get("fitres.num_examples")
                replies.extend([told["num_examples"]] if told is not None else [])
            return answers

    agreement = Agreement("gru", {}, ("i",), aggregation="secure", max_sessions=50)
    server = Server(agreement)
    server.weights = {"a": np.zeros(2, np.float32)}
    context = Context(1, 1, {}, RecordDict(), {}, 1)
    silos = {node: f"silo {node}" for node in values}
    secure_round(server, InProcess(), context, silos, text="{}", timeout=1)  # type: ignore[arg-type]
    server.weights = {"a": 4 * server.weights["a"]}  # a quarter fits the range of a sum
    return server, replies


def check_a_silo_that_left_is_told_from_a_silo_that_is_slow() -> None:
    from lastaisle.federation.flower.server_app import _plain_round
    from models.federated.agreement import Agreement
    from models.federated.rounds import Server

    class Leaving:
        """A link to three silos that do not answer; one of them leaves."""

        there = [{1: "east", 2: "north", 3: "west"}, {1: "east", 2: "north"}]  # noqa: RUF012

        def __init__(self) -> None:
            self.grid = self

        def silos(self) -> dict[int, str]:
            return self.there.pop(0)

        def send_and_receive(self, messages: list[object], timeout: float | None = None) -> list[object]:
            assert len(messages) == 3
            return []

    done = _plain_round(Server(Agreement("gru", {}, ("i",))), Leaving(), "{}", 7.0)  # type: ignore[arg-type]
    slow = "no answer within 7 s"
    assert done.refused == {"east": slow, "north": slow, "west": "it left during the round"}, done
    assert not done.changed


def check_a_revealing_question_is_refused() -> None:
    from flwr.app import ConfigRecord
    from flwr.common.secure_aggregation.secaggplus_constants import Key, Stage

    from lastaisle.federation.flower.secure import _refuse_revealing
    from lastaisle.federation.silo import SiloRefusedError

    def setup(silos: int, threshold: int) -> ConfigRecord:
        return ConfigRecord({Key.STAGE: Stage.SETUP, Key.SAMPLE_NUMBER: silos, Key.THRESHOLD: threshold})

    both = {Key.STAGE: Stage.UNMASK, Key.ACTIVE_NODE_ID_LIST: [1, 2, 3], Key.DEAD_NODE_ID_LIST: [3]}
    _refuse_revealing(setup(4, 3))
    _refuse_revealing(ConfigRecord({**both, Key.DEAD_NODE_ID_LIST: [4]}))
    for wrong in (setup(2, 2), setup(4, 2), setup(10, 3), ConfigRecord(both)):
        try:
            _refuse_revealing(wrong)
        except SiloRefusedError:
            continue
        raise AssertionError(f"{dict(wrong)} was taken")


def check_only_silos_are_answered() -> None:
    from lastaisle.federation.flower.link import FleetOnly

    reached, sent = [], []

    async def app(scope: object, receive: object, send: object) -> None:
        reached.append(scope["path"])  # type: ignore[index]

    async def send(message: dict[str, object]) -> None:
        sent.append(message.get("status"))

    async def ask() -> None:
        for path in ("/v1/control/start-run", "/v1/runtime/acquire-task", "/docs", "/v1/fleet/pull-messages"):
            await FleetOnly(app)({"type": "http", "path": path}, None, send)  # type: ignore[arg-type]

    asyncio.run(ask())
    assert reached == ["/v1/fleet/pull-messages"]
    assert sent.count(404) == 3


def check_messages_carry_updates_whole() -> None:
    from lastaisle.federation.flower.records import answer, answered, asked, question
    from models.federated.updates import Update

    update = Update({"a/b": np.float32([[1, 2]])}, 7, np.float32([0, 1]), 0.5)
    read = answered(answer(update))
    np.testing.assert_array_equal(read.change["a/b"], update.change["a/b"])
    assert (read.sessions, read.recall, np.isnan(read.loss)) == (7, 0.5, True)
    agreement, number, weights, popularity = asked(question("{}", 3, update.change, update.popularity))
    assert (agreement, number, list(weights), list(popularity)) == ("{}", 3, ["a/b"], [0, 1])


def check_a_coordinator_does_not_listen_to_everybody() -> None:
    from lastaisle.federation.flower.server_app import OpenAddressError, _refuse_open

    _refuse_open("127.0.0.1", False, False)
    _refuse_open("0.0.0.0", True, True)
    for given in ((False, True), (True, False)):
        try:
            _refuse_open("0.0.0.0", *given)
        except OpenAddressError:
            continue
        raise AssertionError("an open address was taken")


def _updates(n: int) -> list[object]:
    from models.federated.updates import Update

    generator = np.random.default_rng(5)
    return [Update({"a": generator.normal(size=50).astype(np.float32)}, 1) for _ in range(n)]


CHECKS = [name for name in globals() if name.startswith("check_")]

if __name__ == "__main__":
    for name in CHECKS:
        globals()[name]()
        sys.stdout.write(f"{name}\n")

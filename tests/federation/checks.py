"""Checks of what imports Flower; `test_in_environment.py` runs each in the environment `federated`."""

from __future__ import annotations

import asyncio
import sys

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
    from flwr.client.mod.secure_aggregation import secaggplus_mod
    from flwr.server.workflow.secure_aggregation import secaggplus_workflow

    from lastaisle.federation.flower.secure import masks

    assert secaggplus_mod.pseudo_rand_gen is secaggplus_workflow.pseudo_rand_gen is masks
    one, shape = masks(bytes(32), 2**32, [(100, 100), (3,), ()]), (100, 100)
    assert [array.shape for array in one] == [shape, (3,), ()]
    assert 0.48 < one[0].mean() / 2**32 < 0.52
    np.testing.assert_array_equal(masks(bytes(32), 2**32, [shape])[0], one[0])
    # Flower's own seed is the exclusive or of words of 32 bits: these two secrets had the same masks.
    swapped = masks(b"\1" * 4 + b"\2" * 4 + bytes(24), 2**32, [shape])[0]
    assert not np.array_equal(masks(b"\2" * 4 + b"\1" * 4 + bytes(24), 2**32, [shape])[0], swapped)


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

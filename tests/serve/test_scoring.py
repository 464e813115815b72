"""When the scoring thread begins a batch."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from lastaisle.serve.scoring import Scorer

PACE, BUSY = 0.4, 0.1


def batches(*groups: tuple[float, int], room: int = 16) -> list[tuple[float, int]]:
    """Ask at some times, and return when each batch begins, with its size.

    Args:
        groups: seconds after the start, with a number of requests that come then.
        room: the most requests of a batch.

    The model works for `BUSY` seconds on each batch.
    """
    found: list[tuple[float, int]] = []
    began = 0.0

    def answer(questions: Any) -> Any:
        found.append((time.monotonic() - began, len(questions)))
        time.sleep(BUSY)
        return list(questions)

    async def ask() -> None:
        nonlocal began
        scorer = Scorer(answer, room=lambda: room, pace=PACE, seconds=10.0)
        scorer.start()
        began = time.monotonic()
        asked = []
        for at, number in groups:
            await asyncio.sleep(max(0.0, began + at - time.monotonic()))
            asked += [asyncio.create_task(scorer.ask(position)) for position in range(number)]  # type: ignore[arg-type]
        await asyncio.gather(*asked)
        await asyncio.to_thread(scorer.stop)

    asyncio.run(ask())
    return found


def test_while_requests_share_batches_the_next_batch_begins_later_so_that_more_share_it():
    found = batches((0.0, 1), (0.03, 2), (0.15, 1), (0.25, 1), (0.35, 1))
    assert [size for _, size in found] == [1, 2, 3]
    assert found[2][0] - found[1][0] >= PACE - 0.01


def test_after_a_batch_of_one_request_no_request_waits():
    found = batches((0.0, 1), (0.03, 1), (0.13, 1))
    assert [size for _, size in found] == [1, 1, 1]
    assert found[2][0] - found[0][0] < PACE


def test_a_batch_has_no_more_requests_than_there_is_room_for():
    assert [size for _, size in batches((0.0, 1), (0.02, 6), room=4)] == [1, 4, 2]

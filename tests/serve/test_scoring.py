"""When the scoring thread begins a batch."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from lastaisle.serve.scoring import Scorer

PACE = 0.2


def batches(*groups: tuple[float, int], room: int = 16, pace: float = PACE) -> list[tuple[float, int]]:
    """Ask at some times, and return when each batch begins, with its size.

    Args:
        groups: seconds after the start, with a number of requests that come then.
        room: the most requests of a batch.
        pace: the shortest time between two batches.
    """
    found: list[tuple[float, int]] = []
    began = 0.0

    def answer(questions: Any) -> Any:
        found.append((time.monotonic() - began, len(questions)))
        return list(questions)

    async def ask() -> None:
        nonlocal began
        scorer = Scorer(answer, room=lambda: room, pace=pace, seconds=10.0)
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


def test_requests_that_come_soon_after_a_batch_share_the_next():
    (first, one), (second, others) = batches((0.0, 1), (0.02, 1), (0.05, 1), (0.08, 1))
    assert (one, others) == (1, 3)
    assert second - first >= PACE - 0.01


def test_a_request_after_a_pause_does_not_wait():
    (_, one), (second, two) = batches((0.0, 1), (PACE + 0.1, 1), pace=PACE)
    assert (one, two) == (1, 1)
    assert second < PACE + 0.1 + PACE / 2


def test_a_batch_has_no_more_requests_than_there_is_room_for():
    assert [size for _, size in batches((0.0, 1), (0.02, 6), room=4, pace=0.05)] == [1, 4, 2]

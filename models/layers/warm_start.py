"""What keeps a warm start from throwing a model about: averaged weights, and a bound on how items move."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

SNAPSHOTS = 8  # at most: each costs a copy of the table


class WeightAverage:
    """The mean of a training's weights at some of its last steps.

    Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization (UAI 2018).

    Args:
        variables: what is averaged.
        steps: of the whole training.
        share: of these, the last ones that count; 0 averages nothing.
    """

    def __init__(self, variables: list[tf.Variable], steps: int, share: float) -> None:
        self._variables = variables
        counted = min(SNAPSHOTS, round(share * steps))
        places = steps - 1 - np.linspace(0, share * steps, counted, endpoint=False).astype(int)
        self._places = set(places.tolist()) if counted > 1 else set()
        self._sums: list[NDArray[np.float32]] = []

    def after(self, step: int) -> None:
        """Count the weights after a step, the first is 0, if it is one of those that count."""
        if step in self._places:
            now = [variable.numpy() for variable in self._variables]
            self._sums = [a + b for a, b in zip(self._sums, now, strict=True)] if self._sums else now

    def take(self) -> None:
        """Give the variables their means."""
        for variable, total in zip(self._variables, self._sums, strict=False):
            variable.assign(total / np.float32(len(self._places)))


def held_back(
    before: NDArray[np.float32], after: NDArray[np.float32], reach: float
) -> tuple[NDArray[np.float32], int]:
    """Return rows no further than `reach` from where they were on the unit sphere, and how many had been.

    A row that went further is put on the arc that it took, as far along as the reach goes; its length stays.
    An item's score is its cosine with a state, over the temperature, so for a given state no score changes by
    more than reach / temperature.

    Args:
        before: float32 [n, d].
        after: float32 [n, d].
        reach: longest chord, above 0; 2 is the whole sphere.
    """
    length = np.linalg.norm(after, axis=1, keepdims=True)
    start = before / np.maximum(np.linalg.norm(before, axis=1, keepdims=True), 1e-12)
    end = after / np.maximum(length, 1e-12)
    far = np.flatnonzero(np.linalg.norm(end - start, axis=1) > reach)
    if not len(far):
        return after, 0
    cosine = np.sum(start[far] * end[far], 1, keepdims=True)
    across = end[far] - cosine * start[far]
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    angle = 2 * np.arcsin(min(reach / 2, 1.0))
    held = after.copy()
    held[far] = length[far] * (np.cos(angle) * start[far] + np.sin(angle) * across)
    return held, len(far)

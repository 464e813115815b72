"""What limits the changes of a warm start: averaged weights, and a limit to the moves of items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.tensorflow_import import tf

MAX_SNAPSHOTS = 8  # each snapshot costs a copy of the table


class WeightAverage:
    """The mean of the weights at some of the last steps of a training.

    Izmailov et al., Averaging Weights Leads to Wider Optima and Better Generalization (UAI 2018).

    Args:
        variables: the variables to average.
        steps: the number of steps of the whole training.
        share: the share of the steps, at the end, from which snapshots are taken; 0 averages nothing.
    """

    def __init__(self, variables: list[tf.Variable], steps: int, share: float) -> None:
        self._variables = variables
        snapshots = min(MAX_SNAPSHOTS, round(share * steps))
        at_steps = steps - 1 - np.linspace(0, share * steps, snapshots, endpoint=False).astype(int)
        self._at_steps = set(at_steps.tolist()) if snapshots > 1 else set()
        self._sums: list[NDArray[np.float32]] = []

    def after(self, step: int) -> None:
        """Take a snapshot after this step if one is due; the first step is 0."""
        if step in self._at_steps:
            now = [variable.numpy() for variable in self._variables]
            self._sums = [a + b for a, b in zip(self._sums, now, strict=True)] if self._sums else now

    def assign(self) -> None:
        """Set the variables to their means."""
        for variable, total in zip(self._variables, self._sums, strict=False):
            variable.assign(total / np.float32(len(self._at_steps)))


def limit_moves(
    before: NDArray[np.float32], after: NDArray[np.float32], radius: float
) -> tuple[NDArray[np.float32], int]:
    """Return rows that are at most `radius` from their old place on the unit sphere.

    A row that moved further is placed on the arc of its move, at the distance `radius`; its length stays.
    The score of an item is its cosine with a state, divided by the temperature. For a given state no score
    then changes by more than radius / temperature.

    Args:
        before: float32 [n, d].
        after: float32 [n, d].
        radius: the longest chord, above 0; 2 is the whole sphere.

    Returns:
        float32 [n, d], and the number of rows that moved too far.
    """
    length = np.linalg.norm(after, axis=1, keepdims=True)
    start = before / np.maximum(np.linalg.norm(before, axis=1, keepdims=True), 1e-12)
    end = after / np.maximum(length, 1e-12)
    far = np.flatnonzero(np.linalg.norm(end - start, axis=1) > radius)
    if not len(far):
        return after, 0
    cosine = np.sum(start[far] * end[far], 1, keepdims=True)
    across = end[far] - cosine * start[far]
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    angle = 2 * np.arcsin(min(radius / 2, 1.0))
    limited = after.copy()
    limited[far] = length[far] * (np.cos(angle) * start[far] + np.sin(angle) * across)
    return limited, len(far)

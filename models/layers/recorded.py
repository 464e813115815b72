"""Records how each weight is used in a step, so that the gradient of each session can be told apart.

A step adds the gradients of all its sessions. Private training needs the length of each session's own
gradient, which follows from what a layer read and from the gradient of what it returned (Goodfellow 2015; Li
et al., Large Language Models Can Be Strong Differentially Private Learners, ICLR 2022). While a `Recorder` is
active, each layer function adds a tensor of zeros to its output; the tape's gradient by these zeros is the
gradient by the output, session by session. One pass backwards gives all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from models.tensorflow_import import tf

Use = Literal["linear", "scale", "shift", "rows", "lags"]
"""How a weight is used: values @ weight; values * weight; values + weight; rows of the weight that `values`
names, int32 [b, length]; columns of the weight that the distances `values`, int32 [length, length], name."""


@dataclass(frozen=True)
class Record:
    """One use of one weight.

    Attributes:
        use: see Use.
        values: what the layer read; the first axis is that of the sessions, except for lags.
        tap: the zeros that were added to the output.
    """

    use: Use
    values: tf.Tensor
    tap: tf.Tensor


@dataclass
class Recorder:
    """The uses of the weights in one step.

    Attributes:
        tape: watches the taps.
        records: the uses of each weight, by the weight's reference.
    """

    tape: tf.GradientTape
    records: dict[object, list[Record]] = field(default_factory=dict)

    def record(self, use: Use, weight: tf.Variable, values: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
        """Note one use of a weight, and return the output with its tap."""
        tap = tf.zeros_like(output)
        self.tape.watch(tap)
        self.records.setdefault(weight.ref(), []).append(Record(use, values, tap))
        return output + tap


_active: list[Recorder] = []


@contextmanager
def recording(tape: tf.GradientTape) -> Iterator[Recorder]:
    """Record all uses of weights in this block, which traces one step."""
    recorder = Recorder(tape)
    _active.append(recorder)
    try:
        yield recorder
    finally:
        _active.pop()


def recorded(use: Use, weight: tf.Variable, values: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """Return the output of a layer; note the use of its weight if a recorder is active."""
    return _active[-1].record(use, weight, values, output) if _active else output

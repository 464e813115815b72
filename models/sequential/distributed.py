"""The training of a sequence model on several workers. Each worker takes its share of every batch.

All workers run the same program on the same log with the same seed, so they make the same batches. Their
weights start with the same values. Every step uses the mean of all workers' gradients, so the weights stay
equal, and any worker can save the model. TensorFlow reads the addresses of the workers from TF_CONFIG:

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    model = create("attention", options)
    distribute(model, strategy)
    model.fit(log)
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.layers.blocks import Encoder
from models.layers.optimizer import Adam
from models.options import TrainingOptions
from models.sequential.base import SequenceModel
from models.sequential.trainer import ROW_RATE, Trainer
from models.tensorflow_import import tf

EMPTY_SHARE = 1e-30  # the weight of a batch in which a worker has no target


class SharedAdam(Adam):
    """Adam that uses the mean of all workers' gradients. Call it inside `strategy.run`."""

    def apply(
        self, gradients: Mapping[str, tf.Tensor], rows: tf.Tensor, row_gradient: tf.Tensor, rate: tf.Tensor
    ) -> None:
        """Take one step; see `Adam.apply`. Each worker may have read different rows."""
        context = tf.distribute.get_replica_context()
        workers = context.num_replicas_in_sync
        gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, dict(gradients))
        all_rows, place = tf.unique(context.all_gather(rows, axis=0))
        gathered = context.all_gather(row_gradient, axis=0)
        summed = tf.math.unsorted_segment_sum(gathered, place, tf.size(all_rows))
        super().apply(gradients, all_rows, summed / workers, rate)


class SharedTrainer(Trainer):
    """A trainer that reads its worker's share of each batch, and takes the same step as all workers."""

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        table: NDArray[np.float32],
        encoder: Encoder,
        options: TrainingOptions,
    ) -> None:
        super().__init__(table, encoder, options)
        self.adam = SharedAdam(encoder.weights, self.table, ROW_RATE)
        self._strategy = strategy
        self._workers = strategy.num_replicas_in_sync
        self._worker = strategy.cluster_resolver.task_id or 0
        self._on_all = tf.function(self._step_on_all, input_signature=self.signature, autograph=False)
        self.step = self._step_with_own_share

    def _step_with_own_share(
        self,
        sessions: NDArray[np.int32],
        weights: NDArray[np.float32],
        negatives: NDArray[np.int32],
        inputs: dict[str, NDArray[Any]],
        pace: tuple[np.float32, np.int32],
    ) -> tf.Tensor:
        """Learn from this worker's share of a batch and the other gradients; return the mean loss of all.

        A worker's loss is a mean over its own targets, so it is weighted by their share of all targets. The
        step then equals that of a single worker with the whole batch, except for the choices of dropout.
        """
        own = slice(self._worker, None, self._workers)
        share = self._workers * np.count_nonzero(weights[own]) / np.count_nonzero(weights)
        if not share:  # this worker has no target: it reads one session, with a weight of nearly 0
            own, share = slice(0, 1), EMPTY_SHARE
        inputs = {name: values[own] for name, values in inputs.items()}
        return self._on_all(sessions[own], weights[own] * np.float32(share), negatives, inputs, pace)

    def _step_on_all(self, *batch: Any) -> tf.Tensor:
        def replica(*batch: Any) -> tf.Tensor:
            loss = self._step(*batch)
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, loss)

        return self._strategy.run(replica, args=batch)


def distribute(model: SequenceModel, strategy: tf.distribute.Strategy) -> None:
    """Let a model train on all workers of a strategy that has one replica per worker.

    Raises:
        ValueError: a strategy with several replicas on this worker, e.g. several GPUs; or a model that makes
            its own kind of trainer, as hybrid does.
    """
    if type(model)._make_trainer is not SequenceModel._make_trainer:
        raise ValueError(f"the {model.name} model has a trainer of its own, which cannot be shared")
    devices = strategy.extended.worker_devices
    if len(devices) != 1:
        raise ValueError(f"a worker has one replica, received {len(devices)}: {devices}")
    model.trainer_of = partial(SharedTrainer, strategy)

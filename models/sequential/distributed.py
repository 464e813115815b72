"""The same training on several workers: each takes its share of every batch, and gradients are added up.

All workers run the same program on the same log with the same seed, so they make the same batches; their
weights start alike and take the same steps, so they stay alike, and any of them can save the model.
TensorFlow reads who the workers are from TF_CONFIG:

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
import tensorflow as tf
from numpy.typing import NDArray

from models.layers.encoder import Encoder
from models.layers.optimizer import Adam
from models.options import TrainingOptions
from models.sequential.sequence_model import SequenceModel
from models.sequential.trainer import ROW_RATE, Trainer

NEXT_TO_NOTHING = 1e-30


class SharedAdam(Adam):
    """Adam that steps by the mean of all workers' gradients; to be called inside `strategy.run`."""

    def apply(
        self, gradients: Mapping[str, tf.Tensor], rows: tf.Tensor, row_gradient: tf.Tensor, rate: tf.Tensor
    ) -> None:
        """Take one step; see `Adam.apply`. Each worker may have read other rows."""
        context = tf.distribute.get_replica_context()
        workers = context.num_replicas_in_sync
        gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, dict(gradients))
        all_rows, place = tf.unique(context.all_gather(rows, axis=0))
        gathered = context.all_gather(row_gradient, axis=0)
        summed = tf.math.unsorted_segment_sum(gathered, place, tf.size(all_rows))
        super().apply(gradients, all_rows, summed / workers, rate)


class SharedTrainer(Trainer):
    """A trainer that takes its worker's sessions of each batch, and steps as all workers do."""

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
        """Learn from this worker's share of a batch and the others' gradients; return the mean loss of all.

        A worker's loss is a mean over its own targets, so it is weighted by how many of all those are: the
        step is that of a single worker with the whole batch, but for what dropout leaves out.
        """
        own = slice(self._worker, None, self._workers)
        share = self._workers * np.count_nonzero(weights[own]) / np.count_nonzero(weights)
        if not share:  # no target for this worker: take a session, and let it count next to nothing
            own, share = slice(0, 1), NEXT_TO_NOTHING
        inputs = {name: values[own] for name, values in inputs.items()}
        return self._on_all(sessions[own], weights[own] * np.float32(share), negatives, inputs, pace)

    def _step_on_all(self, *batch: Any) -> tf.Tensor:
        def replica(*batch: Any) -> tf.Tensor:
            loss = self._step(*batch)
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, loss)

        return self._strategy.run(replica, args=batch)


def distribute(model: SequenceModel, strategy: tf.distribute.Strategy) -> None:
    """Let a model train on all workers of a strategy that has one replica a worker.

    Raises:
        ValueError: a strategy with several replicas here, e.g. a worker with several GPUs; or a model that
            makes a trainer of its own, as hybrid does.
    """
    if type(model)._make_trainer is not SequenceModel._make_trainer:
        raise ValueError(f"the {model.name} model has a trainer of its own, which cannot be shared")
    devices = strategy.extended.worker_devices
    if len(devices) != 1:
        raise ValueError(f"a worker has one replica, received {len(devices)}: {devices}")
    model.trainer_of = partial(SharedTrainer, strategy)

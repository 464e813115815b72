"""Secure aggregation (SecAgg+, Bell et al. 2020): the server learns the sum of the updates, and no term.

Flower's protocol makes its masks with a generator whose seed has 32 bits, so that a server could try all
seeds. Both sides replace it by AES-256 in counter mode, keyed with the whole shared secret.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.common import Code, FitIns, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS, Key, Stage
from flwr.compat.common import recorddict_compat
from flwr.server.client_manager import SimpleClientManager
from flwr.server.compat.legacy_context import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD
from flwr.server.workflow.constant import Key as WorkflowKey
from flwr.server.workflow.secure_aggregation import secaggplus_workflow as server_side
from flwr.serverapp.grid import Grid
from numpy.typing import NDArray

from lastaisle.federation.flower.records import POPULARITY
from lastaisle.federation.silo import Silo, SiloRefusedError
from models.federated.rounds import Round, Server
from models.federated.updates import Update

LEAST_SILOS = 3
"""In a sum of two, each silo would see the update of the other."""
RANGE = 4.0
"""The greatest value of one number of an update that the sum can hold."""
LOSS_SCALE = 100.0
GONE = "it left, or did not answer in time"


def masks(seed: bytes, num_range: int, dimensions: Sequence[tuple[int, ...]]) -> list[NDArray[np.int64]]:
    """Return pseudo-random arrays of whole numbers from 0 to num_range - 1, which the seed decides.

    Args:
        seed: a secret.
        num_range: a power of two up to 2 ** 32, so that the remainder is uniform.
        dimensions: the shape of each array.
    """
    key = HKDF(SHA256(), 32, salt=None, info=b"lastaisle secure aggregation").derive(seed)
    stream = Cipher(AES(key), CTR(bytes(16))).encryptor()
    made = []
    for shape in dimensions:
        raw = stream.update(bytes(4 * math.prod(shape)))
        made.append((np.frombuffer(raw, "<u4").astype(np.int64) % num_range).reshape(shape))
    return made


# The package has a function of the same name as this module of it.
client_side: Any = import_module("flwr.client.mod.secure_aggregation.secaggplus_mod")
client_side.pseudo_rand_gen = masks
server_side.pseudo_rand_gen = masks


def answer_masked(message: Message, context: Context, silo: Silo) -> Message:
    """Answer one stage of the protocol.

    Raises:
        SiloRefusedError: the coordinator asks for what would show the update of this silo.
    """
    _refuse_revealing(message.content.config_records[RECORD_KEY_CONFIGS])

    def learn(inner: Message, _: Context) -> Message:
        asked = recorddict_compat.recorddict_to_fitins(inner.content, keep_input=False)
        names = str(asked.config["names"]).split("\n")
        arrays = dict(zip(names, parameters_to_ndarrays(asked.parameters), strict=True))
        popularity = arrays.pop(POPULARITY)
        update = silo.answer(str(asked.config["agreement"]), int(asked.config["round"]), arrays, popularity)
        parts = [update.change[name] for name in names if name != POPULARITY]
        result = FitRes(
            Status(Code.OK, ""),
            ndarrays_to_parameters([*parts, update.popularity, _measures(update)]),
            update.sessions,
            {},
        )
        return Message(recorddict_compat.fitres_to_recorddict(result, keep_input=False), reply_to=inner)

    reply = client_side.secaggplus_mod(message, context, learn)
    if (told := reply.content.metric_records.get("fitres.num_examples")) is not None:
        told["num_examples"] = 1  # the true number is in the sum; alone it would leave the silo in the open
    return reply


def _refuse_revealing(configs: ConfigRecord) -> None:
    """Refuse a stage that would let the server learn the update of one silo."""
    stage = configs.get(Key.STAGE)
    if stage == Stage.SETUP:
        silos, threshold = int(configs[Key.SAMPLE_NUMBER]), int(configs[Key.THRESHOLD])
        if silos < LEAST_SILOS or 2 * threshold <= silos:
            raise SiloRefusedError(
                f"secure aggregation over {silos} silos with threshold {threshold}: it needs {LEAST_SILOS} "
                "silos, and more than half of them to unmask"
            )
    if stage == Stage.UNMASK:
        both = set(configs[Key.ACTIVE_NODE_ID_LIST]) & set(configs[Key.DEAD_NODE_ID_LIST])
        if both:
            raise SiloRefusedError(f"the coordinator asks for both secrets of {len(both)} silos")


def _measures(update: Update) -> NDArray[np.float32]:
    """Return what is told beside the change, so that a sum tells it of all silos together."""
    recall_known, loss_known = np.isfinite(update.recall), np.isfinite(update.loss)
    values = [
        update.recall if recall_known else 0.0,
        float(recall_known),
        min(update.loss / LOSS_SCALE, 1.0) if loss_known else 0.0,
        float(loss_known),
        1.0 / update.sessions,
    ]
    return np.array(values, np.float32)


class _Sum(FedAvg):  # type: ignore[misc]
    """The strategy that Flower's workflow asks: all silos take part, and the sum goes to the server."""

    def __init__(self, nodes: Sequence[int], asked: FitIns) -> None:
        super().__init__()
        self.nodes, self.asked = nodes, asked
        self.mean: list[NDArray[Any]] | None = None
        self.silos = 0

    def configure_fit(self, server_round: int, parameters: Any, client_manager: Any) -> list[Any]:
        return [(_Node(node), self.asked) for node in self.nodes]

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> tuple[None, dict[str, Any]]:
        if results:
            self.silos = len(results)
            self.mean = parameters_to_ndarrays(results[0][1].parameters)
        return None, {}


class _Workflow(server_side.SecAggPlusWorkflow):  # type: ignore[misc]
    """Flower's protocol, in which a silo may also drop out before it has shared its secrets.

    Flower asks for the shares of every silo that was asked first. A silo that is gone by then has given none,
    and the round would fail. Nobody used a mask with such a silo, so it can be forgotten.
    """

    def setup_stage(self, grid: Grid, context: LegacyContext, state: Any) -> bool:
        return self._without_missing(super().setup_stage(grid, context, state), state)

    def share_keys_stage(self, grid: Grid, context: LegacyContext, state: Any) -> bool:
        return self._without_missing(super().share_keys_stage(grid, context, state), state)

    @staticmethod
    def _without_missing(is_going_on: bool, state: Any) -> bool:
        state.sampled_node_ids = set(state.active_node_ids)
        return is_going_on


class _Noting:
    """The grid of a secure round, which notes the silos that failed in one of the protocol's stages."""

    def __init__(self, grid: Grid, silos: Mapping[int, str]) -> None:
        self._grid, self._silos = grid, silos
        self.failed: dict[str, str] = {}

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Send messages, and return the replies that come in time."""
        sent = list(messages)
        replies = list(self._grid.send_and_receive(sent, timeout=timeout))
        waited = {message.metadata.dst_node_id for message in sent}
        waited -= {reply.metadata.src_node_id for reply in replies if not reply.has_error()}
        told = {reply.metadata.src_node_id: reply.error.reason for reply in replies if reply.has_error()}
        for node in waited:
            self.failed.setdefault(self._silos[node], told.get(node) or GONE)
        return replies


class _Node:
    """What the workflow needs to know of a node."""

    def __init__(self, node_id: int) -> None:
        self.node_id = node_id


def secure_round(
    server: Server, grid: Grid, context: Context, silos: Mapping[int, str], *, text: str, timeout: float
) -> Round:
    """Ask all nodes for masked updates, and give their mean to the server.

    Args:
        server: whose next round this is.
        grid: reaches the nodes.
        context: of the run.
        silos: the silos that are there, by the ids of their nodes.
        text: the agreement, as JSON.
        timeout: seconds to wait in each stage.
    """
    number, names = len(server.rounds) + 1, list(server.weights)
    if len(silos) < server.agreement.min_silos:
        return server.finish_round({})
    config = {"agreement": text, "round": number, "names": "\n".join([*names, POPULARITY])}
    parameters = ndarrays_to_parameters([*server.weights.values(), server.popularity])
    strategy, noting = _Sum(list(silos), FitIns(parameters, config)), _Noting(grid, silos)
    legacy = LegacyContext(context, strategy=strategy, client_manager=SimpleClientManager())
    legacy.state = RecordDict()
    legacy.state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({WorkflowKey.CURRENT_ROUND: number})
    legacy.state.array_records[MAIN_PARAMS_RECORD] = recorddict_compat.parameters_to_arrayrecord(
        ndarrays_to_parameters([]), keep_input=False
    )
    threshold = max(server.agreement.min_silos, len(silos) // 2 + 1)
    workflow = _Workflow(
        num_shares=1.0,
        reconstruction_threshold=threshold,
        max_weight=float(server.agreement.max_sessions),
        clipping_range=RANGE,
        timeout=timeout,
    )
    workflow(noting, legacy)
    if strategy.mean is None:
        return server.finish_round({}, noting.failed)
    return server.take(_update_of(strategy.mean, names, strategy.silos), strategy.silos, noting.failed)


def _update_of(mean: Sequence[NDArray[Any]], names: Sequence[str], silos: int) -> Update:
    """Read the mean of all updates."""
    *parts, popularity, measures = (np.asarray(array, np.float32) for array in mean)
    recall, recall_known, loss, loss_known, inverse = (float(value) for value in measures)
    return Update(
        dict(zip(names, parts, strict=True)),
        round(silos / inverse) if inverse > 0 else 0,  # the mean of 1 / n, weighted by n, is silos / sum of n
        np.clip(popularity, 0.0, 1.0),
        recall / recall_known if recall_known > 0.01 else float("nan"),
        LOSS_SCALE * loss / loss_known if loss_known > 0.01 else float("nan"),
    )

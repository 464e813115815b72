"""Online updates: after each session, the embeddings of its shopper and its items move.

The delta stores the changes to a trained model. It uses only NumPy and learns one session at a time. A
session costs a few products of small matrices, without TensorFlow and without batches. `models.online.model`
scores with the changed embeddings, and folds them into the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.data.sequences import USER, SessionLog
from models.data.vocabulary import Vocabulary
from models.online.shoppers import Shoppers
from models.recommender import Recommender
from models.stored import ModelError, read_arrays

LEARNS_ONLINE = ("attention", "gru", "transformer")
"""Models that score an item by the cosine of a session's state with the item's row of a table."""

MAX_LENGTH = 64  # how many of a session's last items are learned from
_DRAWS_AT_ONCE = 1 << 10  # the negatives of so many sessions are drawn at once


@dataclass(frozen=True)
class OnlineOptions:
    """How the embeddings move.

    Attributes:
        rate: the weight of the current interaction if the model gave it a probability of 0; the past has the
            rest of the weight. With 0 nothing is learned.
        context: how far the items before the next item move towards it, as a multiple of how far the next
            item moves towards them.
        fade: the weight of an item in the state, as a share of the weight of the item after it.
        negatives: how many items are sampled by popularity and compared with a session's states.
        largest_step: how far one session may move an item. All embeddings have length 1.
        user_rate: the weight of the current session in its shopper's vector; the past has the rest.
        user_weight: the weight of a shopper's vector in the scores of a session; the session's state has
            the weight 1.
        users: the largest number of shoppers with a vector. The shopper unseen for longest leaves first.
        seed: the seed of the negatives.
    """

    rate: float = 0.1
    context: float = 1.0
    fade: float = 0.3
    negatives: int = 32
    largest_step: float = 0.1
    user_rate: float = 0.2
    user_weight: float = 0.3
    users: int = 20_000
    seed: int = 7

    def __post_init__(self) -> None:
        allowed = {
            "rate": 0 <= self.rate <= 1,
            "context": self.context >= 0,
            "fade": 0 <= self.fade <= 1,
            "negatives": self.negatives >= 1,
            "largest_step": self.largest_step > 0,
            "user_rate": 0 <= self.user_rate <= 1,
            "user_weight": self.user_weight >= 0,
            "users": self.users >= 1,
        }
        for name, holds in allowed.items():
            if not holds:
                raise ModelError(f"{name} of an online update cannot be {getattr(self, name)!r}")


class OnlineDelta:
    """The changes to a trained model's item embeddings, and the shoppers' vectors.

    Both are learned session by session. Each session is one step of SGD on the sampled softmax loss of the
    model's own training, in the space of its normalized embeddings. A state is a weighted mean of the items
    before a position, in which later items weigh more. The next item moves towards the state, to
    (1 - w) past + w current, with w = rate · (1 - p). Here p is the probability that the embeddings give to
    the next item, so an expected item does not move. The items of the state move towards the next item, and
    the negatives move away. The model's encoder does not change.

    An item that the model does not know gets a row from the items beside it, at the first session that has
    both the item and a known item.

    If the shopper of a session is known, the shopper has a vector u, which predicts the first item of a
    session: the probability of item v is proportional to its share of all events times
    exp(u·v / temperature). u is 0 at first. A session moves u by one step of SGD on this prediction, to
    (1 - w) past + w current. Here w is the user rate, and current is the mean of the session's items minus
    the mean of the items that u expected. The items move as they do without a shopper.

    Attributes:
        options: how the embeddings move.
        shoppers: the vectors of the shoppers.
        learned: the number of sessions learned.
        moved: bool [size], the items whose row differs from the model's.
        table: float32 [size, d], the present embeddings, normalized; row 0 is padding.
    """

    def __init__(
        self,
        table: NDArray[np.float32],
        vocabulary: Vocabulary,
        temperature: float,
        options: OnlineOptions | None = None,
    ) -> None:
        self.options = options or OnlineOptions()
        self.learned = 0
        self._base = vocabulary
        self._temperature = temperature
        self._ids: list[str] = [str(item) for item in vocabulary.ids]
        self._index = {item: place for place, item in enumerate(self._ids) if place}
        self.shoppers = Shoppers(table.shape[1], self.options.users)
        self._rows = normalized(table)  # may have spare rows at the end
        self._moved = np.zeros(len(table), bool)
        self._counts = np.zeros(len(table), np.float64)
        shares = vocabulary.counts / max(vocabulary.counts.sum(), 1e-12)
        self._cumulated = np.cumsum(shares)
        self._expected = np.maximum(shares, 1e-9) * self.options.negatives
        self._drawn: tuple[int, NDArray[np.intp]] = (-1, np.zeros((0, 0), np.intp))
        self._lags = self.options.fade ** np.arange(MAX_LENGTH, dtype=np.float32)
        self._weights = self._state_weights(MAX_LENGTH - 1)
        self._cached_vocabulary = (0, vocabulary)

    @classmethod
    def on(cls, recommender: Recommender, options: OnlineOptions | None = None) -> Self:
        """Return a delta without changes on a trained model.

        Raises:
            ModelError: a model that is not in LEARNS_ONLINE, or is not trained.
        """
        if recommender.name not in LEARNS_ONLINE:
            raise ModelError(
                f"the {recommender.name} model has no table of embeddings to update online; "
                f"these have: {', '.join(LEARNS_ONLINE)}"
            )
        vectors = recommender.item_vectors()
        assert vectors is not None, "each model of LEARNS_ONLINE scores items by vectors"
        return cls(vectors, recommender.vocabulary, recommender.options.temperature, options)

    @property
    def table(self) -> NDArray[np.float32]:
        """Return the present embeddings of all items, [size, d]."""
        return self._rows[: len(self._ids)]

    @property
    def moved(self) -> NDArray[np.bool_]:
        """Tell which items' rows differ from the model's, [size]."""
        return self._moved[: len(self._ids)]

    @property
    def vocabulary(self) -> Vocabulary:
        """Return the model's vocabulary with the new items added and the new events counted."""
        if self._cached_vocabulary[0] != self.learned:
            grown = self._base.grow(self._ids[self._base.size :])
            self._cached_vocabulary = (
                self.learned,
                grown.with_counts(grown.counts + self._counts[: grown.size]),
            )
        return self._cached_vocabulary[1]

    def learn(self, session: Sequence[str], user: str | None = None) -> None:
        """Learn from one finished session: its item ids, oldest first, and its shopper's pseudonym."""
        self._learn(np.fromiter((self._index.get(item, 0) for item in session), np.intp), session, user)

    def learn_log(self, log: SessionLog) -> None:
        """Learn from sessions one by one, in their order. The context's column `user` names the shoppers."""
        users = log.context.get(USER, np.full(len(log), None))
        place = np.fromiter((self._index.get(item, 0) for item in log.catalogue), np.intp)
        for start, end, user in zip(log.offsets[:-1].tolist(), log.offsets[1:].tolist(), users, strict=True):
            items = log.items[start:end]
            before = len(self._ids)
            self._learn(place[items], log.catalogue[items], user)
            if len(self._ids) > before:
                place[items] = [self._index.get(item, 0) for item in log.catalogue[items]]

    def _learn(self, rows: NDArray[np.intp], session: Iterable[str], user: Any) -> None:
        """Learn from a session whose items have these rows; 0 = no row yet."""
        self.learned += 1
        if not rows.all():
            rows = self._add_unknown(rows, list(session))
        rows = rows[-len(self._lags) :]
        if isinstance(user, str) and user and len(rows):
            self._learn_shopper(user, rows)
        if len(rows) < 2:
            return
        options, vectors = self.options, self._rows[rows]
        weights = self._weights[: len(rows) - 1, : len(rows) - 1]
        states = weights @ vectors[:-1]
        states /= np.sqrt(np.einsum("td,td->t", states, states))[:, None] + 1e-12
        drawn = self._negatives()
        negatives = self._rows[drawn]
        scores = np.exp(np.einsum("td,td->t", states, vectors[1:]) / self._temperature)
        others = np.exp(states @ negatives.T / self._temperature) / self._expected[drawn]
        others[:, (drawn[:, None] == rows).any(1)] = 0.0
        total = scores + others.sum(1)
        surprise = options.rate * (1.0 - scores / total)
        steps = np.zeros_like(vectors)
        steps[1:] = surprise[:, None] * (states - vectors[1:])
        steps[:-1] += options.context * (weights.T @ (surprise[:, None] * (vectors[1:] - states)))
        self._move(drawn, negatives, -options.rate * ((others / total[:, None]).T @ states))
        if len(set(rows.tolist())) < len(rows):
            distinct, place = np.unique(rows, return_inverse=True)
            summed = np.zeros((len(distinct), vectors.shape[1]), np.float32)
            np.add.at(summed, place, steps)
            self._move(distinct, self._rows[distinct], summed)
        else:
            self._move(rows, vectors, steps)
        self._counts[rows] += 1.0

    def _learn_shopper(self, user: str, rows: NDArray[np.intp]) -> None:
        """Move a shopper's vector towards the items of a session, and away from the expected items."""
        vector, rate = self.shoppers.of([user])[0], self.options.user_rate
        sampled = self._rows[self._negatives()]
        scores = sampled @ vector / self._temperature
        expected = np.exp(scores - scores.max())
        current = self._rows[rows].mean(0) - (expected / expected.sum()) @ sampled
        self.shoppers.put(user, (1.0 - rate) * vector + rate * current)

    def _move(self, rows: NDArray[np.intp], vectors: NDArray[np.float32], steps: NDArray[np.float32]) -> None:
        """Move items by steps of at most options.largest_step, and keep their length of 1."""
        lengths = np.sqrt(np.einsum("rd,rd->r", steps, steps))
        steps = steps * np.minimum(1.0, self.options.largest_step / np.maximum(lengths, 1e-12))[:, None]
        moved = vectors + steps
        moved /= np.sqrt(np.einsum("rd,rd->r", moved, moved))[:, None]
        self._rows[rows] = moved
        self._moved[rows] = True

    def _state_weights(self, length: int) -> NDArray[np.float32]:
        """Return the weight of each item in the state at each position, [n, n]; each row has the sum 1."""
        lag = np.arange(length)[:, None] - np.arange(length)[None, :]
        weights = np.where(lag >= 0, self._lags[np.maximum(lag, 0)], 0.0).astype(np.float32)
        return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)

    def _negatives(self) -> NDArray[np.intp]:
        """Return this session's negatives. They follow only from the seed and the number of sessions."""
        block, place = divmod(self.learned - 1, _DRAWS_AT_ONCE)
        if self._drawn[0] != block:
            generator = np.random.default_rng((self.options.seed, block))
            draws = generator.random((_DRAWS_AT_ONCE, self.options.negatives)) * self._cumulated[-1]
            self._drawn = (block, np.searchsorted(self._cumulated, draws, side="right"))
        drawn: NDArray[np.intp] = self._drawn[1][place]
        return drawn

    def _add_unknown(self, rows: NDArray[np.intp], session: Sequence[str]) -> NDArray[np.intp]:
        """Add a row for each unknown item, computed from the items beside it; return the session's rows.

        A session without a known item gets no rows.
        """
        known = rows > 0
        if not known.any():
            return rows[known]
        places = np.arange(len(rows))
        for item in dict.fromkeys(
            item for item, is_known in zip(session, known, strict=True) if not is_known
        ):
            is_item = np.array([other == item for other in session])
            closeness = self._lags[
                np.minimum(np.abs(places[known] - places[is_item][0]), len(self._lags) - 1)
            ]
            mean = closeness @ self._rows[rows[known]] / max(float(closeness.sum()), 1e-12)
            rows = np.where(is_item, self._add(item, mean), rows)
        return rows

    def _add(self, item: str, vector: NDArray[np.float32]) -> int:
        """Add a row for an item; return its index."""
        index = len(self._ids)
        if index == len(self._rows):
            spare = max(64, index // 4)
            self._rows = np.concatenate([self._rows, np.zeros((spare, self._rows.shape[1]), np.float32)])
            self._moved = np.concatenate([self._moved, np.zeros(spare, bool)])
            self._counts = np.concatenate([self._counts, np.zeros(spare)])
        self._ids.append(item)
        self._index[item] = index
        self._rows[index] = vector / max(float(np.linalg.norm(vector)), 1e-12)
        self._moved[index] = True
        return index

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the changed rows and the shoppers as arrays by name, without pickles."""
        rows = np.flatnonzero(self.moved)
        return {
            "base_size": np.array(self._base.size),
            "learned": np.array(self.learned),
            "rows": rows.astype(np.int32),
            "vectors": self._rows[rows],
            "seen": self._counts[rows],
            "new_items": np.array(self._ids[self._base.size :], dtype=np.str_),
            **self.shoppers.arrays(),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` returned, on a delta without changes.

        Raises:
            ModelError: the arrays belong to a delta on another model.
        """
        if int(arrays["base_size"]) != self._base.size or arrays["vectors"].shape[1:] != self.table.shape[1:]:
            raise ModelError(
                f"a delta on a model of {int(arrays['base_size']) - 1} items with embeddings of "
                f"{arrays['vectors'].shape[-1]} numbers does not fit a model of {len(self._base)} items with "
                f"embeddings of {self.table.shape[1]} numbers"
            )
        for item in arrays["new_items"].tolist():
            self._add(item, np.zeros(self.table.shape[1], np.float32))
        rows = arrays["rows"]
        self._rows[rows], self._counts[rows], self._moved[rows] = arrays["vectors"], arrays["seen"], True
        self.learned = int(arrays["learned"])
        self.shoppers.restore(arrays)

    def save(self, file: Path) -> None:
        """Write the changed rows and the shoppers as one .npz file."""
        np.savez(file, **self.arrays())  # type: ignore[arg-type]

    def load(self, file: Path) -> None:
        """Take over what `save` wrote; see `restore`."""
        self.restore(read_arrays(file))

    def load_shoppers(self, file: Path) -> None:
        """Take over only the shoppers that `save` wrote, on a later version of the delta's model."""
        self.shoppers.restore(read_arrays(file))


def normalized(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors [n, d] of length 1; vectors of length 0 stay 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)

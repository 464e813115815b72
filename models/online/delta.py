"""Online updates: after each session its shopper's and its items' embeddings move, on top of a trained model.

NumPy alone, one session at a time: a session costs some products of small matrices, no TensorFlow and no
batch. `models.online.model` scores with what moved, and folds it into the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.data.sequences import SessionLog
from models.data.vocabulary import Vocabulary
from models.online.shoppers import Shoppers
from models.recommender import ModelError, Recommender

LEARNS_ONLINE = ("attention", "gru", "transformer")
"""Models that score items by the cosine of a session's state with one row each of a table."""

LONGEST = 64  # items of a session that are learned from, its last ones
_DRAWS = 1 << 10  # sessions whose negatives are drawn at once


@dataclass(frozen=True)
class OnlineOptions:
    """How embeddings move.

    Attributes:
        rate: weight of the current interaction where the model did not expect it at all; the past weighs the
            rest. 0 learns nothing.
        context: how far the items before move towards what followed, beside how far that moves towards them.
        fade: what an item of the state weighs, as a share of what the one after it does.
        negatives: items sampled by popularity that a session's states are held against.
        largest_step: how far one session may move an item; all embeddings have a length of 1.
        user_rate: weight of the current session in its shopper's vector; the past weighs the rest.
        user_weight: of a shopper's vector, beside the state of the session, in what the session is scored by.
        users: shoppers that have a vector, at most; the longest unseen leaves first.
        seed: of the negatives.
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
    """What the items of a trained model have moved by since, and its shoppers, learned session by session.

    Each session is one step of SGD on the sampled softmax of the model's own training, in its space of
    normalized embeddings. A state is the mean of the items before, the later the heavier. The item that
    followed moves towards it, to (1 - w) past + w current, w = rate · (1 - p), where p is the probability
    that the embeddings give that item: what was expected moves nothing. The items of the state move towards
    what followed, and negatives away. A model's encoder stays as it is.

    An item that the model does not know gets a row from the items beside it, at the first session that has
    both.

    A shopper, where a session's is known, has a vector u that predicts the first item of a session: item v by
    its share of all events times exp(u·v / temperature). A session moves it by one step of SGD on that, to
    (1 - w) past + w current, where w is the user rate, current the mean of the session's items less those
    that u expected, and u is 0 at first. Items move as they do without it.

    Attributes:
        options: how embeddings move.
        shoppers: their vectors.
        learned: sessions learned so far.
        moved: bool [size], items whose row is no longer the model's.
        table: float32 [size, d], the embeddings as they are now, normalized; row 0 is padding.
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
        self._rows = normalized(table)  # with room for more
        self._moved = np.zeros(len(table), bool)
        self._seen = np.zeros(len(table), np.float64)
        shares = vocabulary.counts / max(vocabulary.counts.sum(), 1e-12)
        self._cumulated = np.cumsum(shares)
        self._expected = np.maximum(shares, 1e-9) * self.options.negatives
        self._drawn: tuple[int, NDArray[np.intp]] = (-1, np.zeros((0, 0), np.intp))
        self._lags = self.options.fade ** np.arange(LONGEST, dtype=np.float32)
        self._weights = self._weights_of(LONGEST - 1)
        self._known = (0, vocabulary)

    @classmethod
    def on(cls, recommender: Recommender, options: OnlineOptions | None = None) -> Self:
        """Return a delta on a trained model that has not moved yet.

        Raises:
            ModelError: a model that is none of LEARNS_ONLINE, or is not trained.
        """
        if recommender.name not in LEARNS_ONLINE:
            raise ModelError(
                f"the {recommender.name} model has no table of embeddings to update online; "
                f"these have: {', '.join(LEARNS_ONLINE)}"
            )
        table = recommender.arrays()["table"]
        return cls(table, recommender.vocabulary, recommender.options.temperature, options)

    @property
    def table(self) -> NDArray[np.float32]:
        """Return the embeddings of all items as they are now, [size, d]."""
        return self._rows[: len(self._ids)]

    @property
    def moved(self) -> NDArray[np.bool_]:
        """Tell which items' rows are no longer the model's, [size]."""
        return self._moved[: len(self._ids)]

    @property
    def vocabulary(self) -> Vocabulary:
        """Return the model's vocabulary with the items that joined, and the events since counted."""
        if self._known[0] != self.learned:
            grown = self._base.grow(self._ids[self._base.size :])
            self._known = (self.learned, grown.with_counts(grown.counts + self._seen[: grown.size]))
        return self._known[1]

    def learn(self, session: Sequence[str], user: str | None = None) -> None:
        """Learn from one finished session: item ids, oldest first, and its shopper's pseudonym."""
        self._learn(np.fromiter((self._index.get(item, 0) for item in session), np.intp), session, user)

    def learn_log(self, log: SessionLog) -> None:
        """Learn from sessions one after the other, in their order; shoppers are the context's `user`."""
        users = log.context.get("user", np.full(len(log), None))
        place = np.fromiter((self._index.get(item, 0) for item in log.catalogue), np.intp)
        for start, end, user in zip(log.offsets[:-1].tolist(), log.offsets[1:].tolist(), users, strict=True):
            items = log.items[start:end]
            before = len(self._ids)
            self._learn(place[items], log.catalogue[items], user)
            if len(self._ids) > before:
                place[items] = [self._index.get(item, 0) for item in log.catalogue[items]]

    def _learn(self, rows: NDArray[np.intp], session: Iterable[str], user: Any) -> None:
        """Learn from a session whose items have these rows, 0 = none yet."""
        self.learned += 1
        if not rows.all():
            rows = self._joined(rows, list(session))
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
        away = self._rows[drawn]
        scores = np.exp(np.einsum("td,td->t", states, vectors[1:]) / self._temperature)
        others = np.exp(states @ away.T / self._temperature) / self._expected[drawn]
        others[:, (drawn[:, None] == rows).any(1)] = 0.0
        total = scores + others.sum(1)
        surprise = options.rate * (1.0 - scores / total)
        push = np.zeros_like(vectors)
        push[1:] = surprise[:, None] * (states - vectors[1:])
        push[:-1] += options.context * (weights.T @ (surprise[:, None] * (vectors[1:] - states)))
        self._move(drawn, away, -options.rate * ((others / total[:, None]).T @ states))
        if len(set(rows.tolist())) < len(rows):
            places, back = np.unique(rows, return_inverse=True)
            whole = np.zeros((len(places), vectors.shape[1]), np.float32)
            np.add.at(whole, back, push)
            self._move(places, self._rows[places], whole)
        else:
            self._move(rows, vectors, push)
        self._seen[rows] += 1.0

    def _learn_shopper(self, user: str, rows: NDArray[np.intp]) -> None:
        """Move a shopper's vector towards the items of a session, and away from those expected instead."""
        vector, rate = self.shoppers.of([user])[0], self.options.user_rate
        sampled = self._rows[self._negatives()]
        scores = sampled @ vector / self._temperature
        expected = np.exp(scores - scores.max())
        current = self._rows[rows].mean(0) - (expected / expected.sum()) @ sampled
        self.shoppers.put(user, (1.0 - rate) * vector + rate * current)

    def _move(self, rows: NDArray[np.intp], vectors: NDArray[np.float32], steps: NDArray[np.float32]) -> None:
        """Move items by steps, each at most the largest, and keep their length of 1."""
        lengths = np.sqrt(np.einsum("rd,rd->r", steps, steps))
        steps = steps * np.minimum(1.0, self.options.largest_step / np.maximum(lengths, 1e-12))[:, None]
        there = vectors + steps
        there /= np.sqrt(np.einsum("rd,rd->r", there, there))[:, None]
        self._rows[rows] = there
        self._moved[rows] = True

    def _weights_of(self, longest: int) -> NDArray[np.float32]:
        """Return how much each item counts in the state at each place, [n, n], rows that add up to 1."""
        lag = np.arange(longest)[:, None] - np.arange(longest)[None, :]
        weights = np.where(lag >= 0, self._lags[np.maximum(lag, 0)], 0.0).astype(np.float32)
        return weights / weights.sum(1, keepdims=True)

    def _negatives(self) -> NDArray[np.intp]:
        """Return this session's negatives: they follow from the seed and the number of sessions alone."""
        block, place = divmod(self.learned - 1, _DRAWS)
        if self._drawn[0] != block:
            generator = np.random.default_rng((self.options.seed, block))
            draws = generator.random((_DRAWS, self.options.negatives)) * self._cumulated[-1]
            self._drawn = (block, np.searchsorted(self._cumulated, draws, side="right"))
        return self._drawn[1][place]

    def _joined(self, rows: NDArray[np.intp], session: Sequence[str]) -> NDArray[np.intp]:
        """Give the items that have no row one, from those beside them; return the rows of those that have."""
        known = rows > 0
        if not known.any():
            return rows[known]
        places = np.arange(len(rows))
        for item in dict.fromkeys(
            item for item, is_known in zip(session, known, strict=True) if not is_known
        ):
            here = np.array([each == item for each in session])
            near = self._lags[np.minimum(np.abs(places[known] - places[here][0]), len(self._lags) - 1)]
            beside = near @ self._rows[rows[known]] / max(float(near.sum()), 1e-12)
            rows = np.where(here, self._add(item, beside), rows)
        return rows

    def _add(self, item: str, vector: NDArray[np.float32]) -> int:
        """Give an item a row; return its index."""
        index = len(self._ids)
        if index == len(self._rows):
            room = max(64, index // 4)
            self._rows = np.concatenate([self._rows, np.zeros((room, self._rows.shape[1]), np.float32)])
            self._moved = np.concatenate([self._moved, np.zeros(room, bool)])
            self._seen = np.concatenate([self._seen, np.zeros(room)])
        self._ids.append(item)
        self._index[item] = index
        self._rows[index] = vector / max(float(np.linalg.norm(vector)), 1e-12)
        self._moved[index] = True
        return index

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what moved, and the shoppers, as arrays by name, without pickles."""
        rows = np.flatnonzero(self.moved)
        return {
            "base_size": np.array(self._base.size),
            "learned": np.array(self.learned),
            "rows": rows.astype(np.int32),
            "vectors": self._rows[rows],
            "seen": self._seen[rows],
            "new_items": np.array(self._ids[self._base.size :], dtype=np.str_),
            **self.shoppers.arrays(),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `arrays` gave, on a delta that has not moved yet.

        Raises:
            ModelError: arrays of a delta on another model.
        """
        if int(arrays["base_size"]) != self._base.size or arrays["vectors"].shape[1:] != self.table.shape[1:]:
            raise ModelError(
                f"a delta on a model of {int(arrays['base_size']) - 1} items, embedded in "
                f"{arrays['vectors'].shape[-1]} numbers, cannot go on one of {len(self._base)} items in "
                f"{self.table.shape[1]}"
            )
        for item in arrays["new_items"].tolist():
            self._add(item, np.zeros(self.table.shape[1], np.float32))
        rows = arrays["rows"]
        self._rows[rows], self._seen[rows], self._moved[rows] = arrays["vectors"], arrays["seen"], True
        self.learned = int(arrays["learned"])
        self.shoppers.restore(arrays)

    def save(self, file: Path) -> None:
        """Write what moved as one .npz file."""
        np.savez(file, **self.arrays())  # type: ignore[arg-type]

    def load(self, file: Path) -> None:
        """Take over what `save` wrote; see `restore`."""
        with np.load(file, allow_pickle=False) as arrays:
            self.restore(dict(arrays))

    def load_shoppers(self, file: Path) -> None:
        """Take over the shoppers alone of what `save` wrote, on a model that goes on from that delta's."""
        with np.load(file, allow_pickle=False) as arrays:
            self.shoppers.restore(dict(arrays))


def normalized(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors [n, d] of length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)

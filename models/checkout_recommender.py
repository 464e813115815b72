"""The model that services pull: MLflow packs this one file as code beside the scorer and the vocabulary.

It imports nothing of this project, so it loads in any environment with the model's own requirements,
whatever packages the service itself has.

Input: a DataFrame with `items`, each session's item ids as a list of strings, oldest first, and on request
`cart`, the ids in its basket. Unknown ids are passed over; a list may be empty; other columns (device, place,
…) are allowed. Params: `k`, how many items (default 20); `exclude_seen`, leave out the session's own items
(default false); `exclude_cart`, leave out those in its basket, so that only what goes with them is shown
(default false); `exclude`, ids that no row shall get (default none). Output: a DataFrame with `items` and
`scores`, lists, best first, one row an input row. A session without a known item gets the popular items,
scored by their share of all events.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

ROWS_AT_ONCE = 128


class CheckoutRecommender(PythonModel):
    """Recommend the next items of sessions."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the scorer (a TensorFlow SavedModel) and the vocabulary (JSON)."""
        import tensorflow as tf

        vocabulary = json.loads(Path(context.artifacts["vocabulary"]).read_text(encoding="utf-8"))
        self._scorer = tf.saved_model.load(context.artifacts["scorer"])
        self._max_length = int(self._scorer.max_length)
        self._ids = np.array(["", *vocabulary["items"]], dtype=object)
        self._index = {item: index for index, item in enumerate(vocabulary["items"], start=1)}
        counts = np.array([0.0, *vocabulary["counts"]])
        self._popular = (counts / max(counts.sum(), 1e-12)).astype(np.float32)

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return `items` and `scores` for each row of `model_input`; see the module."""
        options: Mapping[str, Any] = params or {}
        k = int(options.get("k", 20))
        if k < 1:
            raise ValueError(f"k should be at least 1, received {k}")
        sessions = [self._encode(items) for items in model_input["items"]]
        never = self._encode(options.get("exclude"))
        carts = self._carts(model_input) if options.get("exclude_cart", False) else [[]] * len(sessions)
        items: list[list[str]] = []
        scores: list[list[float]] = []
        for at in range(0, len(sessions), ROWS_AT_ONCE):
            chunk = sessions[at : at + ROWS_AT_ONCE]
            baskets = carts[at : at + ROWS_AT_ONCE]
            for session, cart, row in zip(chunk, baskets, self._score(chunk), strict=True):
                row[0] = -np.inf
                row[never] = -np.inf
                row[cart] = -np.inf
                if options.get("exclude_seen", False):
                    row[session] = -np.inf
                best = _best(row, k)
                items.append([str(item) for item in self._ids[best]])
                scores.append([float(score) for score in row[best]])
        return pd.DataFrame({"items": items, "scores": scores}, index=model_input.index)

    def _carts(self, model_input: pd.DataFrame) -> list[list[int]]:
        """Return the known items of each row's cart."""
        if "cart" not in model_input:
            raise ValueError(f"exclude_cart needs a column 'cart', received {list(model_input.columns)}")
        return [self._encode(items) for items in model_input["cart"]]

    def _encode(self, items: Iterable[Any] | None) -> list[int]:
        """Return the indices of the known items; a missing list (None, NaN) is an empty one."""
        if items is None or not isinstance(items, Iterable):
            return []
        return [self._index[item] for item in map(str, items) if item in self._index]

    def _score(self, sessions: list[list[int]]) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Score every item for each session: float32 [rows, size], writable."""
        scores = np.tile(self._popular, (len(sessions), 1))
        known = [row for row, session in enumerate(sessions) if session]
        if known:
            recent = [sessions[row][-self._max_length :] for row in known]
            width = max(map(len, recent))
            prefixes = np.array([[0] * (width - len(one)) + one for one in recent], np.int32)
            scores[known] = self._scorer.score(prefixes).numpy()
        return scores


def _best(scores: np.ndarray[Any, np.dtype[np.float32]], k: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return the indices of the k highest finite scores, best first, ties to the lower index."""
    k = min(k, len(scores))
    least = np.partition(scores, -k)[-k]
    candidates = np.flatnonzero((scores >= least) & np.isfinite(scores))
    return candidates[np.lexsort((candidates, -scores[candidates]))[:k]]


mlflow.models.set_model(CheckoutRecommender())

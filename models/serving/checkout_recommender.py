"""The model that services pull: MLflow packs this one file as code beside the scorer and the vocabulary.

It imports nothing of this project, so it loads in any environment with the model's own requirements,
whatever packages the service itself has.

Input: a DataFrame with `items`, each session's item ids as a list of strings, oldest first, and on request
`cart`, the ids in its basket. Unknown ids are passed over; a list may be empty. Other columns are allowed,
and read where the model was trained with them: `user` (a pseudonym, as in the training data), `device_type`,
`country`, `region`, `started_at` (a time, or seconds since the epoch), and lists with one value an item:
`event_type`, `dwell_ms`, `price`. Columns and values that are missing are unknown. Params: `k`, how many
items (default 20); `exclude_seen`, leave out the session's own items (default false); `exclude_cart`, leave
out those in its basket, so that only what goes with them is shown (default false); `exclude`, ids that no
row shall get (default none). Output: a DataFrame with `items` and `scores`, lists, best first, one row an
input row. A session without a known item gets the popular items, scored by their share of all events, unless
the model knows its shopper: with online updates it then gets what suits that shopper.
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
        self._in_context = self._scorer.signatures.get("in_context")
        wanted = self._in_context.structured_input_signature[1] if self._in_context else {}
        self._columns = {name: spec for name, spec in wanted.items() if name != "prefixes"}
        self._knows_empty = bool(self._in_context) and "known" in self._in_context.structured_outputs
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
        given = [list(items) if _is_list(items) else [] for items in model_input["items"]]
        sessions = [self._encode(items) for items in given]
        columns = self._read(model_input, given)
        never = self._encode(options.get("exclude"))
        carts = self._carts(model_input) if options.get("exclude_cart", False) else [[]] * len(sessions)
        items: list[list[str]] = []
        scores: list[list[float]] = []
        for at in range(0, len(sessions), ROWS_AT_ONCE):
            chunk = sessions[at : at + ROWS_AT_ONCE]
            baskets = carts[at : at + ROWS_AT_ONCE]
            context = {name: values[at : at + ROWS_AT_ONCE] for name, values in columns.items()}
            for session, cart, row in zip(chunk, baskets, self._score(chunk, context), strict=True):
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

    def _encode(self, items: Any) -> list[int]:
        """Return the indices of the known items; a missing list (None, NaN) is an empty one."""
        if not _is_list(items):
            return []
        return [self._index[item] for item in map(str, items) if item in self._index]

    def _read(self, model_input: pd.DataFrame, given: list[list[Any]]) -> dict[str, list[Any]]:
        """Return the context columns that the scorer reads, one entry a row; of lists, known items' values.

        Raises:
            ValueError: a list that has not one value an item.
        """
        columns: dict[str, list[Any]] = {}
        for name, spec in self._columns.items():
            values = list(model_input[name]) if name in model_input else [None] * len(given)
            is_of_items = len(spec.shape) == 2
            columns[name] = list(map(self._of_known, given, values)) if is_of_items else values
        return columns

    def _of_known(self, items: list[Any], values: Any) -> list[Any]:
        """Return the values of the known items, None each where there is no list."""
        found = list(values) if _is_list(values) else []
        if found and len(found) != len(items):
            raise ValueError(
                f"expected one value an item, received {len(found)} values for {len(items)} items"
            )
        found = found or [None] * len(items)
        return [value for item, value in zip(items, found, strict=True) if str(item) in self._index]

    def _score(
        self, sessions: list[list[int]], context: Mapping[str, list[Any]]
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Score every item for each session: float32 [rows, size], writable.

        A scorer that may know sessions without an item, by their context, says which it knows.
        """
        scores = np.tile(self._popular, (len(sessions), 1))
        known = [row for row, session in enumerate(sessions) if session or self._knows_empty]
        if known:
            recent = [sessions[row][-self._max_length :] for row in known]
            width = max(1, *map(len, recent))
            prefixes = np.array([[0] * (width - len(one)) + one for one in recent], np.int32)
            if self._columns:
                tensors = {name: self._tensor(name, context[name], known, width) for name in self._columns}
                found = self._in_context(prefixes=_constant(prefixes), **tensors)
                told = found["known"].numpy() if self._knows_empty else np.ones(len(known), bool)
                scores[np.array(known)[told]] = found["scores"].numpy()[told]
            else:
                scores[known] = self._scorer.score(prefixes).numpy()
        return scores

    def _tensor(self, name: str, values: list[Any], rows: list[int], width: int) -> Any:
        """Return some rows of a column as the scorer reads it; lists are cut and left-padded as items are."""
        spec = self._columns[name]
        value_of = _name if spec.dtype.name == "string" else _number
        if len(spec.shape) == 1:
            return _constant([value_of(values[row]) for row in rows], spec.dtype)
        recent = [[value_of(value) for value in values[row][-self._max_length :]] for row in rows]
        padded = [[value_of(None)] * (width - len(one)) + one for one in recent]
        return _constant(padded, spec.dtype)


def _constant(values: Any, dtype: Any = None) -> Any:
    import tensorflow as tf

    return tf.constant(values, dtype)


def _is_list(values: Any) -> bool:
    return isinstance(values, Iterable) and not isinstance(values, str)


def _name(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float:
    """Return a number, or of a time its seconds since the epoch; NaN where there is none."""
    try:
        return float(value.timestamp() if hasattr(value, "timestamp") else value)
    except (TypeError, ValueError):
        return float("nan")


def _best(scores: np.ndarray[Any, np.dtype[np.float32]], k: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return the indices of the k highest finite scores, best first, ties to the lower index."""
    k = min(k, len(scores))
    least = np.partition(scores, -k)[-k]
    candidates = np.flatnonzero((scores >= least) & np.isfinite(scores))
    return candidates[np.lexsort((candidates, -scores[candidates]))[:k]]


mlflow.models.set_model(CheckoutRecommender())

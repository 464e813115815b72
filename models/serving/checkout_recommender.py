"""The model that services load. MLflow packs this one file as code, with the scorer and the vocabulary.

It imports nothing from this project, so that it loads in any environment that has the model's own
requirements, whatever other packages the service has.

Input: a DataFrame with the column `items`, each session's item ids as a list of strings, oldest first. The
column `cart` is optional and has the ids in the session's cart. Unknown ids are ignored, and a list may be
empty. The model's signature lists the context columns, which are optional too; the model reads the columns
that it was trained with, and the packed scorer names them. Columns of sessions have one value per row: a
pseudonym as in the training data, a text, or a time (also as seconds since the epoch). Columns of events have
lists with one value per item. Missing columns and values are unknown.

Params: `k`, the number of items (default 20); `exclude_seen`, leave out the session's own items (default
false); `exclude_cart`, leave out the items in the cart (default false); `exclude`, ids that no row may get
(default none).

Loading checks every file by its SHA-256. Load the model in the process that answers: a model that was loaded
before a fork (for example by gunicorn with --preload) hangs in the child, because its threads do not follow.

Output: a DataFrame with the lists `items` and `scores`, best first, one row per input row. A session without
a known item gets the popular items, scored by their share of all events. With online updates it gets items
for its shopper instead, if the model knows the shopper.
"""

from __future__ import annotations

import hashlib
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
        _check_files(Path(context.artifacts["manifest"]))
        import tensorflow as tf  # here, so that packing, which executes this file, does not load TensorFlow

        vocabulary = json.loads(Path(context.artifacts["vocabulary"]).read_text(encoding="utf-8"))
        self._scorer = tf.saved_model.load(context.artifacts["scorer"])
        self._max_length = int(self._scorer.max_length)
        self._in_context = self._scorer.signatures.get("in_context")
        inputs = self._in_context.structured_input_signature[1] if self._in_context else {}
        self._columns = {name: spec for name, spec in inputs.items() if name != "prefixes"}
        self._scores_by_context = bool(self._in_context) and "known" in self._in_context.structured_outputs
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
        item_lists = [list(items) if _is_list(items) else [] for items in model_input["items"]]
        sessions = [self._encode(items) for items in item_lists]
        columns = self._read(model_input, item_lists)
        excluded = self._encode(options.get("exclude"))
        carts = self._carts(model_input) if options.get("exclude_cart", False) else [[]] * len(sessions)
        items: list[list[str]] = []
        scores: list[list[float]] = []
        for at in range(0, len(sessions), ROWS_AT_ONCE):
            chunk = sessions[at : at + ROWS_AT_ONCE]
            baskets = carts[at : at + ROWS_AT_ONCE]
            chunk_columns = {name: values[at : at + ROWS_AT_ONCE] for name, values in columns.items()}
            for session, cart, row in zip(chunk, baskets, self._score(chunk, chunk_columns), strict=True):
                row[0] = -np.inf
                row[excluded] = -np.inf
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
        """Return the indices of the known items; a missing list (None, NaN) counts as empty."""
        if not _is_list(items):
            return []
        return [self._index[item] for item in map(str, items) if item in self._index]

    def _read(self, model_input: pd.DataFrame, item_lists: list[list[Any]]) -> dict[str, list[Any]]:
        """Return the context columns that the scorer reads, one entry per row; lists only for known items.

        Raises:
            ValueError: a list that does not have one value per item.
        """
        columns: dict[str, list[Any]] = {}
        for name, spec in self._columns.items():
            values = list(model_input[name]) if name in model_input else [None] * len(item_lists)
            is_of_items = len(spec.shape) == 2
            columns[name] = list(map(self._values_of_known, item_lists, values)) if is_of_items else values
        return columns

    def _values_of_known(self, items: list[Any], values: Any) -> list[Any]:
        """Return the values of the known items, or None for each if there is no list."""
        listed = list(values) if _is_list(values) else []
        if listed and len(listed) != len(items):
            raise ValueError(
                f"expected one value per item, received {len(listed)} values for {len(items)} items"
            )
        listed = listed or [None] * len(items)
        return [value for item, value in zip(items, listed, strict=True) if str(item) in self._index]

    def _score(
        self, sessions: list[list[int]], context: Mapping[str, list[Any]]
    ) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Score every item for each session: float32 [rows, size], writable.

        A scorer that can score sessions by their context alone, without an item, returns which it knows.
        """
        scores = np.tile(self._popular, (len(sessions), 1))
        rows = [row for row, session in enumerate(sessions) if session or self._scores_by_context]
        if rows:
            recent = [sessions[row][-self._max_length :] for row in rows]
            width = max(1, *map(len, recent))
            prefixes = np.array([[0] * (width - len(items)) + items for items in recent], np.int32)
            if self._columns:
                tensors = {name: self._tensor(name, context[name], rows, width) for name in self._columns}
                scored = self._in_context(prefixes=_constant(prefixes), **tensors)
                is_known = scored["known"].numpy() if self._scores_by_context else np.ones(len(rows), bool)
                scores[np.array(rows)[is_known]] = scored["scores"].numpy()[is_known]
            else:
                scores[rows] = self._scorer.score(prefixes).numpy()
        return scores

    def _tensor(self, name: str, values: list[Any], rows: list[int], width: int) -> Any:
        """Return some rows of a column as a tensor. Lists are cut and left-padded like the items."""
        spec = self._columns[name]
        value_of = _name if spec.dtype.name == "string" else _number
        if len(spec.shape) == 1:
            return _constant([value_of(values[row]) for row in rows], spec.dtype)
        recent = [[value_of(value) for value in values[row][-self._max_length :]] for row in rows]
        padded = [[value_of(None)] * (width - len(listed)) + listed for listed in recent]
        return _constant(padded, spec.dtype)


def _check_files(manifest: Path) -> None:
    """Refuse files that are not those that were packed: their SHA-256 stands in the manifest beside them."""
    for name, expected in json.loads(manifest.read_text(encoding="utf-8"))["sha256"].items():
        file = manifest.parent / name
        if not file.is_file():
            raise ValueError(f"{file} is missing: {manifest.name} expects it with the SHA-256 {expected}")
        received = hashlib.sha256(file.read_bytes()).hexdigest()
        if received != expected:
            raise ValueError(f"{file} has changed: expected the SHA-256 {expected}, received {received}")


def _constant(values: Any, dtype: Any = None) -> Any:
    import tensorflow as tf  # here for the same reason as in load_context

    return tf.constant(values, dtype)


def _is_list(values: Any) -> bool:
    return isinstance(values, Iterable) and not isinstance(values, str)


def _name(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float:
    """Return a number, or a time as seconds since the epoch; NaN for other values."""
    try:
        return float(value.timestamp() if hasattr(value, "timestamp") else value)
    except (TypeError, ValueError):
        return float("nan")


def _best(scores: np.ndarray[Any, np.dtype[np.float32]], k: int) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Return the indices of the k highest finite scores, best first; ties go to the lower index."""
    k = min(k, len(scores))
    lowest = np.partition(scores, -k)[-k]
    candidates = np.flatnonzero((scores >= lowest) & np.isfinite(scores))
    return candidates[np.lexsort((candidates, -scores[candidates]))[:k]]


mlflow.models.set_model(CheckoutRecommender())

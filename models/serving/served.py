"""A packed model, opened and asked as a service opens and asks it: what it answers here is what is served."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.data.sequences import Examples
from models.data.vocabulary import Vocabulary
from models.error_stream import without_notes
from models.evaluation.ranking import Ranking
from models.options import Progress
from models.stored import DamagedModelError, ModelError

ROWS_AT_ONCE = 4096


class ServedModel:
    """A packed model in a folder, loaded by MLflow.

    Args:
        folder: the files of the packed model. They are needed only until the model is loaded.
        named: what the model is, for messages.

    Attributes:
        vocabulary: the items that the model knows.

    Raises:
        DamagedModelError: the model cannot be opened.
    """

    def __init__(self, folder: Path, named: str) -> None:
        self._named = named
        try:
            with without_notes():  # of LiteRT's first graph in this process
                self._model = mlflow.pyfunc.load_model(str(folder))
            files = self._model.metadata.flavors["python_function"]["artifacts"]
            # Versions of 0.1 have the vocabulary beside a SavedModel, and need TensorFlow.
            light = files["light"]["path"] + "/vocabulary.json" if "light" in files else None
            vocabulary = folder / (light or files["vocabulary"]["path"])
            content = json.loads(vocabulary.read_text(encoding="utf-8"))
            self.vocabulary = Vocabulary(content["items"])
            self._columns = set(self._model.metadata.get_input_schema().input_names())
        except Exception as error:
            raise DamagedModelError(f"{named} cannot be opened: {type(error).__name__}: {error}") from error

    def rank(
        self,
        examples: Examples,
        k: int = 20,
        progress: Progress | None = None,
        *,
        exclude_seen: bool = False,
    ) -> Ranking:
        """Ask for a list of k items for each prefix, and find the targets in the lists.

        A request holds the items of the prefixes as ids, and the columns of context that the model's
        signature has and the sessions have.

        Returns:
            The ranking. A target that is not among the first k items has the rank 0.

        Raises:
            ModelError: the model fails on a request, or answers something else than lists of its items.
        """
        top = np.zeros((len(examples), k), np.int32)
        for at in range(0, len(examples), ROWS_AT_ONCE):
            rows = slice(at, at + ROWS_AT_ONCE)
            top[rows] = self._lists(examples.select(rows), k, exclude_seen)
            if progress:
                progress(min(1.0, (at + ROWS_AT_ONCE) / len(examples)), f"asking {self._named}")
        targets = self.vocabulary.encode(examples.targets)
        found = (top == targets[:, None]) & (targets > 0)[:, None]
        ranks = np.where(found.any(axis=1), found.argmax(axis=1) + 1, 0).astype(np.int32)
        return Ranking(ranks, top, examples.units, len(self.vocabulary))

    def _lists(self, examples: Examples, k: int, exclude_seen: bool) -> NDArray[np.int32]:
        """Return the answered lists as indices of the vocabulary, int32 [n, k]; 0 = none."""
        frame = frame_of(examples, self._columns)
        try:
            answer = self._model.predict(frame, params={"k": k, "exclude_seen": exclude_seen})
            lists = [list(items) for items in answer["items"]]
        except Exception as error:
            raise ModelError(f"{self._named} fails on sessions: {type(error).__name__}: {error}") from error
        if len(lists) != len(frame):
            raise ModelError(f"{self._named} answered {len(lists)} lists for {len(frame)} sessions")
        top = np.zeros((len(lists), k), np.int32)
        for row, items in enumerate(lists):
            top[row, : len(items)] = self.vocabulary.encode(items)
            if not items and not exclude_seen:
                raise ModelError(
                    f"{self._named} answers a session of {len(frame['items'].iloc[row])} items with an empty "
                    "list: its scores are no numbers, as after a training that diverged"
                )
        return top


def frame_of(examples: Examples, columns: set[str]) -> pd.DataFrame:
    """Return the prefixes of examples as a service sends sessions.

    Args:
        examples: the examples.
        columns: the columns of the model's signature; those that the log does not have are left out.
    """
    log = examples.log
    starts = log.offsets[examples.session]
    spans = list(zip(starts.tolist(), (starts + examples.position).tolist(), strict=True))
    ids = log.catalogue[log.items]
    frame = {"items": [ids[start:end].tolist() for start, end in spans]}
    for name in columns & set(log.context):
        frame[name] = log.context[name][examples.session].tolist()
    for name in columns & set(log.event_context):
        values = log.event_context[name]
        frame[name] = [values[start:end].tolist() for start, end in spans]
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in frame.items()})

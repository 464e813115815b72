"""A trained model that recommends items, without TensorFlow and without MLflow.

Every packed model carries this package. It imports only NumPy and ai-edge-litert, and nothing else of this
project:

    import sys; sys.path.insert(0, "path/to/light")
    from checkout_model import CheckoutModel
    model = CheckoutModel("path/to/light")
    items, scores = model.recommend(["214821026", "214820201"], k=5, exclude_seen=True)

Load a model after the process has forked, not before. The training reads its columns with `ColumnReader`, so
that training and serving read alike.
"""

from __future__ import annotations

import hashlib
import json
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .values import ColumnReader, item_id, listed

MODEL, ITEMS, INPUTS, MANIFEST = "model.tflite", "vocabulary.json", "inputs.json", "manifest.json"
SESSIONS_AT_ONCE = 16  # more make a session hardly faster, and need more memory
SCORES_AT_ONCE = 1 << 24  # limits the memory of a graph to 64 MiB of scores
BLOCK = 32  # scores


_ItemsAndContext = tuple[Any, Mapping[str, Any] | None]
_Use = Callable[[int, NDArray[np.float32], bool], object]


class _Session(NamedTuple):
    """A session as the model reads it.

    Attributes:
        known: the indices of its known items, oldest first.
        inputs: the inputs of the graph, each with a first dimension of 1.
        is_scored: whether the model can score it. Otherwise it gets the popular items.
    """

    known: list[int]
    inputs: dict[str, NDArray[Any]]
    is_scored: bool


class CheckoutModel:
    """Recommends the next items of sessions. Several threads may use one model at once.

    Args:
        folder: where the packed files are: the graph (LiteRT), the items with their counts, and the inputs.

    Attributes:
        items: object [size], the item of each index; items[0] is "" and never an item.
        index: the index of each item.
        exclude_seen: whether this version was judged by lists without the session's own items.
        max_length: how many of a session's last items are read.
        columns: name of each context column that the model reads to "session" (one value) or "event" (one
            value an item).

    Raises:
        ValueError: a file that is not the file that was packed, or files that do not fit each other.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        if damage := damage_of(folder):
            raise ValueError(damage)
        vocabulary = json.loads((folder / ITEMS).read_text(encoding="utf-8"))
        inputs = json.loads((folder / INPUTS).read_text(encoding="utf-8"))
        self.items: NDArray[np.object_] = np.array(["", *vocabulary["items"]], dtype=object)
        self.max_length = int(inputs["max_length"])
        self.index = {item: index for index, item in enumerate(vocabulary["items"], start=1)}
        self.exclude_seen = bool(inputs.get("exclude_seen", False))  # older versions do not say
        counts = np.array([0.0, *vocabulary["counts"]])
        self._popular = (counts / max(counts.sum(), 1e-12)).astype(np.float32)
        self._popular[0] = -np.inf
        self._readers = {kind: ColumnReader(*inputs[kind]) for kind in ("session", "event")}
        self.columns = {name: kind for kind, reader in self._readers.items() for name in reader.columns}
        self._alone = tuple(inputs["alone"])
        self._path = str(folder / MODEL)
        self._idle: queue.SimpleQueue[_Graph] = queue.SimpleQueue()
        self._at_once = max(1, min(SESSIONS_AT_ONCE, SCORES_AT_ONCE // len(self.items)))
        graph = _Graph(self._path)
        if graph.size != len(self.items):
            raise ValueError(
                f"{folder / MODEL} scores {graph.size - 1} items, but {ITEMS} names {len(self.items) - 1}"
            )
        self._idle.put(graph)

    def recommend(
        self,
        items: Any,
        *,
        k: int = 20,
        exclude: Any = (),
        exclude_seen: bool = False,
        context: Mapping[str, Any] | None = None,
    ) -> tuple[list[str], list[float]]:
        """Return the k best next items of a session and their scores, best first.

        A session without a known item gets the popular items, scored by their share of all events, unless the
        model knows the session by its context.

        Args:
            items: the session's item ids, oldest first, as a list, a tuple, an array or a Series: texts or
                whole numbers. None and NaN are passed over. Unknown ids are ignored. A set is an error, since
                it has no order.
            k: the largest number of items, at least 1.
            exclude: ids that the list leaves out: a list, a tuple, a set or None.
            exclude_seen: leave out the session's own items.
            context: values of `columns`. A column that is missing is unknown. Times are datetimes or
                ISO 8601 texts (UTC if they have no zone), or seconds since the epoch.

        Raises:
            ValueError: a value that cannot be read; the error names it and its column.
        """
        session = self._read(items, context or {})
        return self._lists([session], [self.known("exclude", exclude)], k, exclude_seen)[0]

    def recommend_all(
        self,
        sessions: Sequence[_ItemsAndContext],
        *,
        k: int = 20,
        exclude: Sequence[Any] | None = None,
        exclude_seen: bool = False,
        names: Sequence[str] | None = None,
    ) -> list[tuple[list[str], list[float]]]:
        """Return what `recommend` returns for each session, which is faster than to ask one after the other.

        Args:
            sessions: the items and the context of each session.
            k: the largest number of items of each list, at least 1.
            exclude: for each session the ids that its list leaves out.
            exclude_seen: leave out the session's own items.
            names: what errors call each session; by default its position.

        Raises:
            ValueError: a value that cannot be read; the error names its session, its column and the value.
        """
        read = self._read_all(sessions, names)
        left_out = []
        for position, ids in zip(range(len(read)), exclude or [()] * len(read), strict=True):
            with _named(names, position):
                left_out.append(self.known("exclude", ids))
        return self._lists(read, left_out, k, exclude_seen)

    def score(self, sessions: Sequence[_ItemsAndContext]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Score every item for several sessions.

        Args:
            sessions: the items and the context of each session, in the forms that `recommend` takes.

        Returns:
            the scores, float32 [n, size], with -inf in column 0; the caller may change them. And bool [n],
            whether the model scored each session; where it did not, the row holds the shares of the popular
            items.

        Raises:
            ValueError: a value that cannot be read; the error names the position of its session, its column
                and the value.
        """
        whole = np.empty((len(sessions), len(self.items)), np.float32)

        are_scored = np.zeros(len(sessions), bool)

        def keep(place: int, scores: NDArray[np.float32], is_scored: bool) -> None:
            whole[place], are_scored[place] = scores, is_scored

        self.score_each(sessions, keep)
        return whole, are_scored

    def score_each(self, sessions: Sequence[_ItemsAndContext], use: _Use) -> None:
        """Score several sessions as `score` does, without a copy of the scores.

        Args:
            sessions: see `score`.
            use: is called with the position of each session, its scores, float32 [size], and whether the
                model scored it, in any order. It may change the scores, and must not keep them: the next
                sessions overwrite them.

        Raises:
            ValueError: as `score` does, before the first call of `use`.
        """
        self._score(self._read_all(sessions), use)

    def known(self, name: str, items: Any) -> list[str]:
        """Return the ids of a list or a set that the model knows; `name` names the list in an error."""
        ids = (item_id(name, item) for item in listed(name, items, ordered=False))
        return [item for item in ids if item in self.index]

    def _lists(
        self, sessions: Sequence[_Session], left_out: Sequence[Sequence[str]], k: int, exclude_seen: bool
    ) -> list[tuple[list[str], list[float]]]:
        """Return the k best items of each session and their scores."""
        if k < 1:
            raise ValueError(f"k should be at least 1, received {k}")
        lists: list[tuple[list[str], list[float]]] = [([], [])] * len(sessions)

        def choose(place: int, scores: NDArray[np.float32], is_scored: bool) -> None:
            scores[[self.index[item] for item in left_out[place]]] = -np.inf
            if exclude_seen:
                scores[sessions[place].known] = -np.inf
            best = best_of(scores, k)
            lists[place] = (self.items[best].tolist(), scores[best].astype(float).tolist())

        self._score(sessions, choose)
        return lists

    def _read_all(
        self, sessions: Sequence[_ItemsAndContext], names: Sequence[str] | None = None
    ) -> list[_Session]:
        read = []
        for position, (items, context) in enumerate(sessions):
            with _named(names, position):
                read.append(self._read(items, context or {}))
        return read

    def _read(self, items: Any, context: Mapping[str, Any]) -> _Session:
        ids = [item_id("items", item) for item in listed("items", items)]
        rows = [self.index.get(item, 0) if item else 0 for item in ids]
        known = [row for row in rows if row]
        inputs = self._inputs(rows, context) if self.columns else {}
        is_scored = bool(known) or any(inputs[name].any() for name in self._alone)
        inputs["prefixes"] = self._last(np.array(known, np.int32), 0)
        return _Session(known, inputs, is_scored)

    def _score(self, sessions: Sequence[_Session], use: _Use) -> None:
        """Score sessions; see `score_each`."""
        try:
            graph = self._idle.get_nowait()
        except queue.Empty:  # as many graphs as threads that score at once
            graph = _Graph(self._path)
        at_once = self._at_once if graph.takes_several else 1
        places = [place for place, session in enumerate(sessions) if session.is_scored]
        for at in range(0, len(places), at_once):
            chosen = places[at : at + at_once]
            several = [sessions[place].inputs for place in chosen]
            scores = graph({name: np.concatenate([each[name] for each in several]) for name in several[0]})
            scores[:, 0] = -np.inf
            for row, place in enumerate(chosen):
                use(place, scores[row], True)
            del scores  # LiteRT refuses to run while its memory is in use
        self._idle.put(graph)
        for place, session in enumerate(sessions):
            if not session.is_scored:
                use(place, self._popular.copy(), False)

    def _inputs(self, rows: Sequence[int], context: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Return the inputs of the graph beside the items, each with a first dimension of 1."""
        session = {name: [context.get(name)] for name in self._readers["session"].columns}
        inputs = self._readers["session"](session, 1)
        events: dict[str, list[Any]] = {}
        for name in self._readers["event"].columns:
            values = list(listed(name, context.get(name))) or [None] * len(rows)
            if len(values) != len(rows):
                raise ValueError(
                    f"expected one value of {name} per item, received {len(values)} values for {len(rows)} "
                    "items"
                )
            events[name] = [value for row, value in zip(rows, values, strict=True) if row]
        n_known = sum(1 for row in rows if row)
        for name, read in self._readers["event"](events, n_known).items():
            inputs[name] = self._last(read, 0)
        return inputs

    def _last(self, values: NDArray[Any], padding: float) -> NDArray[Any]:
        """Return the last `max_length` values as [1, max_length, …], padded on the left."""
        padded = np.full((1, self.max_length, *values.shape[1:]), padding, values.dtype)
        values = values[-self.max_length :]
        if len(values):
            padded[0, -len(values) :] = values
        return padded


class _Graph:
    """One interpreter of the graph. Only one thread at a time may use it.

    Attributes:
        size: the number of scores of a session.
        takes_several: whether it scores several sessions at once. The graphs of older versions do not.
    """

    def __init__(self, path: str) -> None:
        from ai_edge_litert.interpreter import Interpreter  # here: the training needs only the reading

        self._interpreter = Interpreter(model_path=path, num_threads=1)
        self._interpreter.allocate_tensors()
        inputs = self._interpreter.get_input_details()
        self._inputs = {
            entry["name"].removeprefix("serving_default_").rpartition(":")[0]: entry["index"]
            for entry in inputs
        }
        output = self._interpreter.get_output_details()[0]
        self._scores, self.size = self._interpreter.tensor(output["index"]), int(output["shape"][-1])
        self.takes_several = all(entry["shape_signature"][0] == -1 for entry in inputs)
        self._sessions = 1

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        """Score sessions: float32 [n, size], which is the interpreter's own memory."""
        sessions = len(inputs["prefixes"])
        if sessions != self._sessions:
            for name, place in self._inputs.items():
                self._interpreter.resize_tensor_input(place, inputs[name].shape)
            self._interpreter.allocate_tensors()
            self._sessions = sessions
        for name, place in self._inputs.items():
            self._interpreter.set_tensor(place, inputs[name])
        self._interpreter.invoke()
        scores: NDArray[np.float32] = self._scores()
        return scores


@contextmanager
def _named(names: Sequence[str] | None, position: int) -> Iterator[None]:
    """Name a session in an error about its values."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{names[position] if names else f'session {position}'}: {error}") from error


def damage_of(directory: Path) -> str | None:
    """Return what is wrong with the files of a folder by its manifest, in words; None if nothing is."""
    manifest = directory / MANIFEST
    try:
        expected: dict[str, str] = dict(json.loads(manifest.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{manifest} cannot be read: {type(error).__name__}: {error}"
    for name, digest in expected.items():
        file = directory / name
        if not file.is_file():
            return f"{file} is missing: {MANIFEST} expects it with the SHA-256 {digest}"
        received = sha256_of(file)
        if received != digest:
            size = file.stat().st_size
            return f"{file} has changed: expected the SHA-256 {digest}, received {received} ({size:,} bytes)"
    return None


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def best_of(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    """Return the indices of the k highest finite scores, best first; ties go to the lower index.

    At least k scores are as high as the k-th highest maximum of a block of scores. So only the scores from
    there on are sorted.
    """
    k, blocks = min(k, len(scores)), len(scores) // BLOCK
    highest = scores
    if blocks >= k:
        highest = np.fmax.reduce(scores[: blocks * BLOCK].reshape(BLOCK, blocks))
    lowest = -np.partition(-highest, k - 1)[k - 1]  # NaN counts as the lowest
    candidates = np.flatnonzero(~(scores < lowest))
    candidates = candidates[np.isfinite(scores[candidates])]
    return candidates[np.lexsort((candidates, -scores[candidates]))[:k]]

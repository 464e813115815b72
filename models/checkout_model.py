"""A trained model that recommends items, without TensorFlow and without MLflow.

Every packed model carries this file. It imports only NumPy and ai-edge-litert, and nothing of this project:

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
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MODEL, ITEMS, INPUTS, MANIFEST = "model.tflite", "vocabulary.json", "inputs.json", "manifest.json"
TIME_ROWS = {"hour": 25, "weekday": 8}
EXACT = 2**53  # up to here a float holds every whole number
PLAIN = {float, type(None)}  # what NumPy turns into numbers at once
NO_NUMBERS = (bool, np.bool_, np.timedelta64, np.datetime64, np.complexfloating)  # though they convert
LATEST = 253_402_300_800  # the year 10000: later "seconds" are milliseconds
MAX_SHOWN = 200  # characters of a value in an error


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
            context: values of `columns`. A column that is missing is unknown. Times are datetimes (UTC if
                they have no zone) or seconds since the epoch.

        Raises:
            ValueError: a value that cannot be read; the error names it and its column.
        """
        if k < 1:
            raise ValueError(f"k should be at least 1, received {k}")
        session = self._read(items, context or {})
        scores = self._scores([session])[0]
        scores[[self.index[item] for item in self.known("exclude", exclude)]] = -np.inf
        if exclude_seen:
            scores[session.known] = -np.inf
        best = best_of(scores, k)
        return self.items[best].tolist(), scores[best].astype(float).tolist()

    def score(
        self, sessions: Sequence[tuple[Any, Mapping[str, Any] | None]]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Score every item for several sessions, which is faster than to ask for one after the other.

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
        read = []
        for position, (items, context) in enumerate(sessions):
            try:
                read.append(self._read(items, context or {}))
            except ValueError as error:
                raise ValueError(f"session {position}: {error}") from error
        return self._scores(read), np.array([session.is_scored for session in read], bool)

    def known(self, name: str, items: Any) -> list[str]:
        """Return the ids of a list or a set that the model knows; `name` names the list in an error."""
        ids = (_item_id(name, item) for item in _listed(name, items, ordered=False))
        return [item for item in ids if item in self.index]

    def _read(self, items: Any, context: Mapping[str, Any]) -> _Session:
        ids = [_item_id("items", item) for item in _listed("items", items)]
        rows = [self.index.get(item, 0) if item else 0 for item in ids]
        known = [row for row in rows if row]
        inputs = self._inputs(rows, context) if self.columns else {}
        is_scored = bool(known) or any(inputs[name].any() for name in self._alone)
        inputs["prefixes"] = self._last(np.array(known, np.int32), 0)
        return _Session(known, inputs, is_scored)

    def _scores(self, sessions: Sequence[_Session]) -> NDArray[np.float32]:
        """Score every item: float32 [n, size]."""
        scores = np.empty((len(sessions), len(self.items)), np.float32)
        try:
            graph = self._idle.get_nowait()
        except queue.Empty:  # as many graphs as threads that score at once
            graph = _Graph(self._path)
        for row, session in zip(scores, sessions, strict=True):
            row[:] = graph(session.inputs) if session.is_scored else self._popular
        self._idle.put(graph)
        scores[:, 0] = -np.inf
        return scores

    def _inputs(self, rows: Sequence[int], context: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Return the inputs of the graph beside the items, each with a first dimension of 1."""
        session = {name: [context.get(name)] for name in self._readers["session"].columns}
        inputs = self._readers["session"](session, 1)
        events: dict[str, list[Any]] = {}
        for name in self._readers["event"].columns:
            values = list(_listed(name, context.get(name))) or [None] * len(rows)
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


class ColumnReader:
    """Turns raw columns into the inputs of a graph.

    Args:
        names: each column of names to its known names; name i has row i + 1, and row 0 means unknown.
        numbers: each column of numbers to the mean and the standard deviation of their log1p.
        times: the columns of times, read as hour of the day and weekday (UTC).

    Attributes:
        columns: the names of the raw columns.
    """

    def __init__(
        self,
        names: Mapping[str, Sequence[str]],
        numbers: Mapping[str, Sequence[float]],
        times: Sequence[str],
    ) -> None:
        self.columns = (*names, *numbers, *times)
        self._rows = {
            column: {name: row for row, name in enumerate(known, start=1)} for column, known in names.items()
        }
        self._numbers = {column: (float(mean), float(scale)) for column, (mean, scale) in numbers.items()}
        self._times = tuple(times)

    def __call__(self, columns: Mapping[str, Any], *shape: int) -> dict[str, NDArray[Any]]:
        """Read columns of one shape. A missing column is unknown, and so are None, NaN and "".

        Returns:
            for a name or a part of a time: int32 `shape`, the row, 0 = unknown. For a number: float32
            `shape` + [2], the normalized number and 1, or 0 and 0 if the number is unknown. Negative numbers
            count as 0.

        Raises:
            ValueError: a value that is no text, no number or no time, where one is expected; the error names
                the column and the value.
        """
        read: dict[str, NDArray[Any]] = {}
        for name, rows in self._rows.items():
            texts = _names(name, columns[name]) if name in columns else [""] * int(np.prod(shape))
            read[name] = np.array([rows.get(text, 0) for text in texts], np.int32).reshape(shape)
        for name, (mean, scale) in self._numbers.items():
            values = _numbers(name, columns[name]) if name in columns else np.full(shape, np.nan)
            known = np.isfinite(values)
            scaled = (np.log1p(np.maximum(np.where(known, values, 0.0), 0.0)) - mean) / scale
            pairs = np.stack([np.where(known, scaled, 0.0), known.astype(float)], -1)
            read[name] = pairs.astype(np.float32).reshape(*shape, 2)
        for name in self._times:
            seconds = _numbers(name, columns[name], time=True) if name in columns else np.full(shape, np.nan)
            late = seconds[np.isfinite(seconds) & (np.abs(seconds) >= LATEST)]
            if late.size:
                raise _unreadable(name, "a time or seconds since the epoch", float(late.flat[0]))
            read |= _parts_of_time(seconds.reshape(shape))
        return read


class _Graph:
    """One interpreter of the graph. Only one thread at a time may use it."""

    def __init__(self, path: str) -> None:
        from ai_edge_litert.interpreter import Interpreter  # here: the training needs only the reading

        self._interpreter = Interpreter(model_path=path, num_threads=1)
        self._interpreter.allocate_tensors()
        names = {entry["name"]: entry["index"] for entry in self._interpreter.get_input_details()}
        self._inputs = {
            name.removeprefix("serving_default_").rpartition(":")[0]: at for name, at in names.items()
        }
        output = self._interpreter.get_output_details()[0]
        self._output, self.size = output["index"], int(output["shape"][-1])

    def __call__(self, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
        for name, place in self._inputs.items():
            self._interpreter.set_tensor(place, inputs[name])
        self._interpreter.invoke()
        scores: NDArray[np.float32] = self._interpreter.get_tensor(self._output)[0]
        return scores


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
    """Return the indices of the k highest finite scores, best first; ties go to the lower index."""
    k = min(k, len(scores))
    lowest = np.partition(scores, -k)[-k]
    candidates = np.flatnonzero((scores >= lowest) & np.isfinite(scores))
    return candidates[np.lexsort((candidates, -scores[candidates]))[:k]]


def _is_missing(value: Any) -> bool:
    """Tell whether a value is None, NaN, NaT, NA or masked. A value that holds others is not missing."""
    if value is None or type(value).__name__ in ("NAType", "NaTType", "MaskedConstant"):
        return True
    if isinstance(value, Iterable):
        return False
    try:
        return bool(value != value)  # noqa: PLR0124 (NaN is not equal to itself)
    except (ArithmeticError, TypeError, ValueError):  # Decimal("sNaN") refuses to be compared
        return False


def _unreadable(name: str, expected: str, value: Any) -> ValueError:
    try:
        received = repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits
        received = f"a value of type {type(value).__name__} that is too long to show"
    received = received if len(received) <= MAX_SHOWN else f"{received[:MAX_SHOWN]}…"
    return ValueError(f"{name} should be {expected}, received {received}")


def _listed(name: str, values: Any, *, ordered: bool = True) -> Iterable[Any]:
    """Return a list of values; a missing list is empty.

    Args:
        name: what the values are, for an error.
        values: the list, in any form.
        ordered: whether the order of the values counts. A set has no order.

    Raises:
        ValueError: a value that is no list, or that has several dimensions.
    """
    if isinstance(values, (list, tuple)):
        return values
    dimensions = getattr(values, "ndim", 1)
    one_value = isinstance(values, (str, bytes, bytearray, memoryview, Mapping)) or dimensions == 0
    if isinstance(values, Iterable) and not one_value and dimensions == 1:
        if not (ordered and isinstance(values, (set, frozenset))):
            return values.tolist() if isinstance(values, np.ma.MaskedArray) else list(values)
    elif _is_missing(values):
        return ()
    raise _unreadable(name, "a list", values)


def _item_id(name: str, value: Any) -> str:
    """Return an item id as the text that the training has; "" for a missing id.

    Raises:
        ValueError: a value that is neither a text nor a whole number.
    """
    if isinstance(value, str):
        return value
    try:
        if isinstance(value, (int, np.integer)) and not isinstance(value, NO_NUMBERS):
            return str(value)
        if isinstance(value, (float, np.floating)):  # pandas turns whole numbers beside NaN into floats
            number = float(value)
            if number.is_integer() and abs(number) < EXACT:
                return str(int(number))
    except ValueError:  # Python writes no whole number of more than 4300 digits
        raise _unreadable(name, "a list of texts or whole numbers", value) from None
    if _is_missing(value):
        return ""
    raise _unreadable(name, "a list of texts or whole numbers", value)


def _names(column: str, values: Any) -> list[str]:
    """Return the names of a column, flat; "" for missing names."""
    flat = values.ravel().tolist() if isinstance(values, np.ndarray) else values
    return [value if isinstance(value, str) else _no_name(column, value) for value in flat]


def _no_name(column: str, value: Any) -> str:
    if not _is_missing(value):
        raise _unreadable(column, "a text", value)
    return ""


def _numbers(column: str, values: Any, *, time: bool = False) -> NDArray[np.float64]:
    """Return the numbers of a column, or its times as seconds since the epoch; NaN for missing values."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        return values.astype(np.float64)
    flat = values.ravel() if isinstance(values, np.ndarray) else values
    if set(map(type, flat)) <= PLAIN:
        return np.array(flat, np.float64)
    return np.array([_number(column, value, time) for value in flat], np.float64)


def _number(column: str, value: Any, time: bool) -> float:
    """Return a number, or a time as seconds since the epoch; a time without a zone is in UTC."""
    if (isinstance(value, str) and not value) or _is_missing(value):
        return float("nan")
    if time and isinstance(value, np.datetime64):
        return float(value.astype("datetime64[us]").astype(np.int64)) / 1e6
    if time and isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, str) or not isinstance(value, (*NO_NUMBERS, Iterable)):
        with suppress(ArithmeticError, TypeError, ValueError):
            return float(value)
    raise _unreadable(column, "a time or seconds since the epoch" if time else "a number", value)


def _parts_of_time(seconds: NDArray[np.float64]) -> dict[str, NDArray[np.int32]]:
    """Return the hour of the day and the weekday from Monday, both counted from 1; 0 = unknown."""
    known = np.isfinite(seconds)
    hours = np.floor(np.where(known, seconds, 0.0) / 3600.0)
    parts = {"hour": hours % 24, "weekday": (np.floor(hours / 24) + 3) % 7}  # the epoch began on a Thursday
    return {name: np.where(known, 1 + part, 0).astype(np.int32) for name, part in parts.items()}

"""Sessions as DuckDB returns them, turned into the arrays that models learn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lastaisle.sessions.session_query import EVENT_COLUMNS, ITEM_COLUMNS
from models.data.sequences import SessionLog

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_log(kept: pa.Table, features: pa.Table, columns: Mapping[str, str]) -> SessionLog:
    """Turn sessions into a log.

    Args:
        kept: one row a session: `session_id`, `ended_at`, the source of each of `columns`, and `events`, a
            list of structs of `item_id` and EVENT_COLUMNS.
        features: one row an item: `item_id` and ITEM_COLUMNS.
        columns: the log's columns of each session: name in the log to name in `kept`.
    """
    if kept.num_rows == 0:
        return SessionLog.from_lists([])
    lists = pa.concat_arrays(kept["events"].chunks)
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    events = pa.Table.from_struct_array(lists.flatten())
    encoded = pc.dictionary_encode(events["item_id"].combine_chunks())
    features = features.take(pc.index_in(encoded.dictionary, features["item_id"].combine_chunks()))
    return SessionLog(
        items=encoded.indices.to_numpy(zero_copy_only=False).astype(np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        catalogue=values_of(encoded.dictionary),
        ended_at=values_of(kept["ended_at"]),
        context={name: values_of(kept[source]) for name, source in columns.items()},
        event_context={name: values_of(events[name]) for name in EVENT_COLUMNS},
        item_features={name: values_of(features[name]) for name in ITEM_COLUMNS},
    )


def values_of(column: Any) -> NDArray[Any]:
    """Return a column as a NumPy array: bool, float64 with NaN (times in seconds), or str and None."""
    if pa.types.is_timestamp(column.type):
        column = pc.divide(column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).cast(pa.float64()), 1e6)
    if pa.types.is_boolean(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False), bool)
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    # Each text stands in memory once, however many events have it; the last value, None, stands for null.
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    encoded = pc.dictionary_encode(array)
    values: NDArray[Any] = np.array([*encoded.dictionary.to_pylist(), None], dtype=object)
    places: NDArray[np.int64] = np.asarray(encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False))
    return values[places]

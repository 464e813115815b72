"""Measure, shorten and decode the values of Arrow arrays in which repeated texts stand in dictionaries.

The casts of Arrow end the whole process at a map with a dictionary, so nested arrays are taken apart here.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_FIXED_BYTES = 16  # about a number or a time as text
_A_SECOND = {"s": 1, "ms": 1000}
_MOST_MICROSECONDS = 2**63 - 2


def value_sizes(column: pa.Array) -> np.ndarray:
    """Return for each row about the bytes of its values, with a repeated text counted at each place."""
    kind = column.type
    if isinstance(column, pa.ExtensionArray):
        return value_sizes(column.storage)
    if pa.types.is_dictionary(kind):
        lengths = value_sizes(column.dictionary)
        places = column.indices.fill_null(0).to_numpy(zero_copy_only=False)
        return lengths[places] if len(lengths) else np.zeros(len(column), np.int64)
    if pa.types.is_struct(kind):
        return np.asarray(sum(map(value_sizes, column.flatten()), np.zeros(len(column), np.int64)))
    if _is_list(kind):
        offsets, values = _list_parts(column)
        inner = np.concatenate([[0], np.cumsum(value_sizes(values))])
        return np.asarray(inner[offsets[1:]] - inner[offsets[:-1]] + 2)
    if not _is_text(kind):
        return np.full(len(column), _FIXED_BYTES, np.int64)
    lengths = pc.fill_null(pc.binary_length(column.cast(pa.large_binary())), 0)
    return np.asarray(lengths.to_numpy(zero_copy_only=False).astype(np.int64) + 2)


def shortened(column: pa.Array, characters: int) -> pa.Array:
    """Return the column with only the beginning of each text; a nested column is left out."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(column.indices, shortened(column.dictionary, characters))
    if pa.types.is_nested(kind):
        return pa.array(["(left out)"] * len(column))
    if not _is_text(kind):
        return column
    beginnings = pc.binary_slice(column.cast(pa.large_binary()), 0, characters).to_pylist()
    return pa.array([text and text.decode("utf-8", "backslashreplace") for text in beginnings], pa.string())


def decoded(column: pa.Array) -> pa.Array:
    """Return the column as DuckDB takes it: texts written out and checked, times in microseconds.

    Raises:
        pyarrow.ArrowInvalid: a text is no UTF-8.
    """
    kind = column.type
    if isinstance(column, pa.ExtensionArray):
        return column if isinstance(kind, pa.UuidType) else decoded(column.storage)
    if pa.types.is_dictionary(kind):
        return decoded(column.dictionary_decode())
    if pa.types.is_struct(kind) and kind.num_fields:
        children = [decoded(child) for child in column.flatten()]
        names = [field.name for field in kind]
        return pa.StructArray.from_arrays(children, names, mask=column.is_null())
    if _is_list(kind):
        offsets, values = _list_parts(column)
        places, values = pa.array(offsets - offsets[0], pa.int32()), values[offsets[0] : offsets[-1]]
        if pa.types.is_map(kind):
            keys, items = map(decoded, values.flatten())
            return pa.MapArray.from_arrays(places, keys, items, mask=column.is_null())
        return pa.ListArray.from_arrays(places, decoded(values), mask=column.is_null())
    return _decoded_values(column)


def _decoded_values(column: pa.Array) -> pa.Array:
    """Decode a column that is not nested."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        return _decoded_times(column)
    if _is_text(kind):  # a cast from bytes to text checks the bytes; a cast from text to text does not
        return column.cast(pa.large_binary()).cast(pa.string())
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    return column.cast(pa.string()) if pa.types.is_decimal256(kind) else column


def _decoded_times(column: pa.Array) -> pa.Array:
    """Return times in microseconds, as DuckDB counts them; if some are too far, all as text.

    A far time becomes its number and unit. DuckDB would stop at it, and then refuse everything else.
    """
    kind = column.type
    numbers = column.cast(pa.int64())
    most = _MOST_MICROSECONDS * _A_SECOND.get(kind.unit, 1_000_000) // 1_000_000
    near = pc.and_(pc.less_equal(numbers, most), pc.greater_equal(numbers, -most))
    microseconds = pc.CastOptions(pa.timestamp("us", kind.tz), allow_time_truncate=True)
    if pc.all(near).as_py() is not False:
        return column.cast(options=microseconds)
    times = pc.if_else(near, column, pa.scalar(None, kind)).cast(options=microseconds)
    far = pc.binary_join_element_wise(numbers.cast(pa.string()), kind.unit, " ")
    return pc.if_else(near, times.cast(pa.string()), far)


def _is_list(kind: pa.DataType) -> bool:
    return any(
        is_kind(kind)
        for is_kind in (
            *(pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list),
            pa.types.is_map,
        )
    )


def _list_parts(column: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Return where the values of each row begin and end, and the values; of a map its pairs."""
    if pa.types.is_fixed_size_list(column.type):
        size = column.type.list_size
        return (np.arange(len(column) + 1, dtype=np.int64) + column.offset) * size, column.values
    return column.offsets.to_numpy().astype(np.int64), column.values


def _is_text(kind: pa.DataType) -> bool:
    return any(
        is_kind(kind)
        for is_kind in (
            *(pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
            *(pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view),
            pa.types.is_fixed_size_binary,
        )
    )

"""Which files of a table a reader may skip, by the bounds that the log states of their columns."""

from __future__ import annotations

from typing import Final

import pyarrow.dataset as ds

LAST_CHARACTER: Final = "\U0010ffff"
"""The last character of Unicode: behind a cut text it stands for all texts that begin like this."""
_NO_BOUND: Final = "null["


def without_unknown_bounds(dataset: ds.FileSystemDataset) -> ds.FileSystemDataset:
    """Return a dataset of which no file is skipped by a bound that the log does not state.

    delta-rs compares such a column with NULL, and Arrow then skips the file for every filter by that column:
    its rows would be missing without a word. A file with such a column is skipped by its day alone.
    """
    fragments, changed = [], False
    for fragment in dataset.get_fragments():
        stated = fragment.partition_expression
        if _NO_BOUND not in str(stated):
            fragments.append(fragment)
            continue
        changed, known = True, _of_partition(stated)
        fragments.append(
            dataset.format.make_fragment(fragment.path, dataset.filesystem, partition_expression=known)
        )
    if not changed:
        return dataset
    return ds.FileSystemDataset(fragments, dataset.schema, dataset.format, dataset.filesystem)


def _of_partition(stated: ds.Expression) -> ds.Expression:
    """Return the part that names the values of partition columns, and the columns without a value."""
    of_partition = ds.scalar(True)
    for name, value in ds.get_partition_keys(stated).items():
        column = ds.field(name)
        of_partition = of_partition & (column.is_null() if value is None else column == value)
    return of_partition

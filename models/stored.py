"""A stored model: its folder's manifest, which names each changed file, and its arrays, checked when read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.checkout_model import MANIFEST, damage_of, sha256_of
from models.data.vocabulary import Vocabulary

FORMAT = 2
WITHOUT_MANIFEST = 1  # the format of the models that older releases saved
DESCRIPTION = "model.json"
NOT_PACKED = ("registered_model_meta",)
"""Files that MLflow writes beside a packed model when it loads a version: no part of the model."""


class ModelError(ValueError):
    """A model that does not exist, cannot be read, or cannot do what was asked."""

    exit_code = 2


class DamagedModelError(ModelError):
    """The files of a model are not those that were saved, or do not fit each other."""

    exit_code = 21


def write_manifest(directory: Path) -> None:
    """Write the SHA-256 of every file of a folder and of its folders into manifest.json.

    The manifest appears whole, or not at all. It is written last: a folder without it is not finished.
    """
    content = {
        "sha256": {name: sha256_of(directory / name) for name in _files(directory) if name != MANIFEST}
    }
    unfinished = directory / f"{MANIFEST}.unfinished"
    unfinished.write_text(json.dumps(content, indent=1), encoding="utf-8")
    unfinished.replace(directory / MANIFEST)


def digest_of(directory: Path) -> str:
    """Return one SHA-256 for all files of a packed model, in hexadecimal digits.

    It is the SHA-256 of one line a file, sorted by name: the file's own SHA-256, two spaces, the name as a
    relative path with slashes, and a line feed. The command `sha256sum` prints the same lines.
    """
    lines = (
        f"{sha256_of(directory / name)}  {name}\n" for name in _files(directory) if name not in NOT_PACKED
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _files(directory: Path) -> list[str]:
    """Return the names of all files of a folder as relative paths with slashes, sorted."""
    return sorted(file.relative_to(directory).as_posix() for file in directory.rglob("*") if file.is_file())


def write_description(directory: Path, name: str, options: Mapping[str, Any]) -> None:
    """Begin to save a model: remove the manifest of an earlier save, and write model.json.

    `write_manifest` ends the save. In between the folder has no manifest, and so is not read as a model.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MANIFEST).unlink(missing_ok=True)
    description = {"format": FORMAT, "name": name, "options": dict(options)}
    (directory / DESCRIPTION).write_text(json.dumps(description, indent=2), encoding="utf-8")


def read_description(directory: Path) -> tuple[str, dict[str, Any]]:
    """Check the files of a saved model by its manifest, and return its name and its options.

    Raises:
        ModelError: no model, or a model of another format.
        DamagedModelError: a save that was not finished, or files that have changed since.
    """
    path = directory / DESCRIPTION
    if not path.exists():
        raise ModelError(f"no model in {directory}: {DESCRIPTION} is missing")
    try:
        description = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DamagedModelError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    if description.get("format") not in (WITHOUT_MANIFEST, FORMAT):
        raise ModelError(f"{path} has format {description.get('format')!r}; this version reads {FORMAT}")
    if description["format"] == FORMAT and (damage := damage_of(directory)):
        raise DamagedModelError(f"the model was not saved to its end, or was changed afterwards: {damage}")
    try:
        return str(description["name"]), dict(description["options"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedModelError(f"{path} describes no model: {type(error).__name__}: {error}") from error


def read_vocabulary(file: Path) -> Vocabulary:
    """Read the vocabulary of a stored model.

    Raises:
        DamagedModelError: the file cannot be read, or holds no vocabulary.
    """
    try:
        return Vocabulary.load(file)
    except Exception as error:
        raise DamagedModelError(f"{file} holds no vocabulary: {type(error).__name__}: {error}") from error


def read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """Read arrays by name, as numpy.savez writes them.

    Raises:
        DamagedModelError: the file cannot be read, or an array has NaN or infinite numbers.
    """
    try:
        with np.load(file, allow_pickle=False) as opened:
            arrays = dict(opened)
    except Exception as error:
        raise DamagedModelError(f"{file} holds no arrays: {type(error).__name__}: {error}") from error
    for name, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            wrong = int(np.count_nonzero(~np.isfinite(array)))
            raise DamagedModelError(
                f"{file}: the array {name!r} should hold finite numbers; {wrong:,} of {array.size:,} are NaN "
                "or infinite"
            )
    return arrays


def check_rows(
    arrays: Mapping[str, NDArray[Any]],
    rows_by_item: Iterable[str],
    item_indices: Iterable[str],
    size: int,
    file: Path,
) -> None:
    """Make sure that arrays fit the vocabulary beside them.

    Args:
        arrays: the arrays of the file.
        rows_by_item: see models.recommender.Recommender.
        item_indices: see models.recommender.Recommender.
        size: the size of the vocabulary, with the padding.
        file: the file, for the message.

    Raises:
        DamagedModelError: an array has too few or too many rows, or an index that no item has.
    """
    for name in _named(arrays, rows_by_item):
        if len(arrays[name]) != size:
            raise DamagedModelError(
                f"{file}: the array {name!r} should have {size:,} rows, one for each item of the vocabulary "
                f"beside it and one for padding; received {len(arrays[name]):,}"
            )
    for name in _named(arrays, item_indices):
        lowest, highest = int(arrays[name].min(initial=0)), int(arrays[name].max(initial=0))
        if lowest < 0 or highest >= size:
            raise DamagedModelError(
                f"{file}: the array {name!r} should hold indices of the vocabulary beside it, from 0 to "
                f"{size - 1:,}; received {lowest if lowest < 0 else highest:,}"
            )


def _named(arrays: Mapping[str, NDArray[Any]], names: Iterable[str]) -> list[str]:
    """Return the arrays of these names; a name that ends with a slash stands for all that begin with it."""
    wanted = tuple(names)
    return [
        name
        for name in arrays
        if name in wanted or any(name.startswith(prefix) for prefix in wanted if prefix.endswith("/"))
    ]

"""The model that services load by MLflow. MLflow packs this one file as code, with the files of the model.

It imports nothing from this project, so that it loads in any environment that has the model's own
requirements, whatever other packages the service has.

Loading checks every file by its SHA-256. Load the model in the process that answers: a web server's workers
load it each for themselves.

Input: a DataFrame with the column `items`, each session's item ids as a list, oldest first. Ids are texts or
whole numbers; None and NaN inside a list are passed over, a missing list is an empty list, and unknown ids
are ignored. Two columns are optional: `cart` has the ids in the session's cart, and `exclude` has ids that
the row's list leaves out. The model's signature lists the context columns, which are optional too; the model
reads the columns that it was trained with. Columns of sessions have one value per row: a pseudonym as in the
training data, a text, or a time (also as seconds since the epoch). Columns of events have lists with one
value per item. Missing columns and values are unknown. A value that cannot be read is an error that names
row, column and value.

Params: `k`, the number of items (default 20); `exclude_seen`, leave out the session's own items;
`exclude_cart`, leave out the items in the cart (default false); `exclude`, ids that no row may get (default
none); `with_version`, tell which version answers (default false). The default of `exclude_seen` is how this
version was judged.

Output: a DataFrame with the lists `items` and `scores`, best first, one row per input row. With
`with_version` it also has the columns `name` and `version`, the registered model and the number of its
version that an alias named when the model was loaded; both are None for a model that was not loaded from the
registry. A session without a known item gets the popular items, scored by their share of all events. A model
that knows the session's shopper may give items for the shopper instead.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

import mlflow
import pandas as pd
import yaml
from mlflow.pyfunc import PythonModel, PythonModelContext


class CheckoutRecommender(PythonModel):
    """Recommend the next items of sessions."""

    def load_context(self, context: PythonModelContext) -> None:
        """Open the model's files by the package that is packed with them."""
        folder = Path(context.artifacts["light"])
        _check_code(folder)
        self._model = _own_package(folder / "checkout_model").CheckoutModel(folder)
        self._version = _version_of(folder.parent.parent)

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Return `items` and `scores` for each row of `model_input`; see the module."""
        options: Mapping[str, Any] = params or {}
        for name, value in options.items():
            if value is None and name != "exclude":
                raise ValueError(f"{name} has no value: leave it out, and its default counts")
        k = int(options.get("k", 20))
        rows = [f"row {label!r}" for label in model_input.index]
        lists = self._model.recommend_all(
            self._sessions(model_input),
            k=k,
            exclude=self._left_out(model_input, rows, options),
            exclude_seen=bool(options.get("exclude_seen", False)),
            names=rows,
        )
        answers = {"items": [ids for ids, _ in lists], "scores": [scores for _, scores in lists]}
        answer = pd.DataFrame(answers, index=model_input.index)
        return answer.assign(**self._version) if options.get("with_version", False) else answer

    def _sessions(self, model_input: pd.DataFrame) -> list[tuple[Any, dict[str, Any]]]:
        """Return the items and the context of each row."""
        columns = {name: list(model_input[name]) for name in self._model.columns if name in model_input}
        return [
            (items, {name: values[row] for name, values in columns.items()})
            for row, items in enumerate(model_input["items"])
        ]

    def _left_out(
        self, model_input: pd.DataFrame, rows: Sequence[str], options: Mapping[str, Any]
    ) -> list[list[str]]:
        """Return the ids that each row's list leaves out."""
        everywhere = self._model.known("exclude", options.get("exclude"))
        left_out = [list(everywhere) for _ in rows]
        columns = ["exclude"] if "exclude" in model_input else []
        if options.get("exclude_cart", False):
            if "cart" not in model_input:
                raise ValueError(f"exclude_cart needs a column 'cart', received {list(model_input.columns)}")
            columns.append("cart")
        for name in columns:
            for row, ids in enumerate(model_input[name]):
                try:
                    left_out[row] += self._model.known(name, ids)
                except ValueError as error:
                    raise ValueError(f"{rows[row]}: {error}") from error
        return left_out


def _check_code(folder: Path) -> None:
    """Refuse code that has changed since it was packed. The code itself checks the other files.

    Raises:
        ValueError: a file that is missing, changed or not packed; the error names it.
    """
    manifest = folder / "manifest.json"
    try:
        digests: dict[str, str] = dict(json.loads(manifest.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{manifest} cannot be read: {type(error).__name__}: {error}") from error
    packed = {name for name in digests if name.endswith(".py")}
    found = {file.relative_to(folder).as_posix() for file in folder.rglob("*.py")}
    for name in sorted(packed | found):
        received = hashlib.sha256((folder / name).read_bytes()).hexdigest() if name in found else "no file"
        if received != digests.get(name):
            raise ValueError(
                f"{folder / name} has changed: expected the SHA-256 {digests.get(name)}, received {received}"
            )


def _own_package(folder: Path) -> ModuleType:
    """Import the package that this version carries, beside those of other versions in one process."""
    name = f"{folder.name}_{uuid4().hex}"
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    assert spec and spec.loader, "it is a file of Python"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # its files find each other by this name
    try:
        spec.loader.exec_module(module)
    finally:
        for imported in [other for other in list(sys.modules) if other.partition(".")[0] == name]:
            del sys.modules[imported]
    return module


def _version_of(folder: Path) -> dict[str, str | None]:
    """Return name and number of the version that MLflow fetched into a folder, which it writes there."""
    meta = folder / "registered_model_meta"
    content = yaml.safe_load(meta.read_text(encoding="utf-8")) if meta.is_file() else {}
    found = {"name": content.get("model_name"), "version": content.get("model_version")}
    return {column: None if value is None else str(value) for column, value in found.items()}


mlflow.models.set_model(CheckoutRecommender())

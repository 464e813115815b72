"""The model that services load by MLflow. MLflow packs this one file as code, with the files of the model.

It imports nothing from this project, so that it loads in any environment that has the model's own
requirements, whatever other packages the service has.

Loading checks every file by its SHA-256. Load the model in the process that answers: a web server's workers
load it each for themselves.

Input: a DataFrame with the column `items`, each session's item ids as a list, oldest first. Ids are texts or
whole numbers; None and NaN inside a list are passed over, a missing list is an empty list, and unknown ids
are ignored. The column `cart` is optional and has the ids in the session's cart. The model's signature lists
the context columns, which are optional too; the model reads the columns that it was trained with. Columns of
sessions have one value per row: a pseudonym as in the training data, a text, or a time (also as seconds since
the epoch). Columns of events have lists with one value per item. Missing columns and values are unknown. A
value that cannot be read is an error that names row, column and value.

Params: `k`, the number of items (default 20); `exclude_seen`, leave out the session's own items;
`exclude_cart`, leave out the items in the cart (default false); `exclude`, ids that no row may get (default
none). The default of `exclude_seen` is how this version was judged.

Output: a DataFrame with the lists `items` and `scores`, best first, one row per input row. A session without
a known item gets the popular items, scored by their share of all events. With online updates it gets items
for its shopper instead, if the model knows the shopper.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext


class CheckoutRecommender(PythonModel):
    """Recommend the next items of sessions."""

    def load_context(self, context: PythonModelContext) -> None:
        """Open the model's files by the module that is packed with them."""
        folder = Path(context.artifacts["light"])
        spec = importlib.util.spec_from_file_location("checkout_model", folder / "checkout_model.py")
        assert spec and spec.loader, "it is a file of Python"
        module = importlib.util.module_from_spec(spec)  # this version's own, beside those of other versions
        spec.loader.exec_module(module)
        self._model = module.CheckoutModel(folder)

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
        if k < 1:
            raise ValueError(f"k should be at least 1, received {k}")
        exclude = self._model.known("exclude", options.get("exclude"))
        seen = bool(options.get("exclude_seen", False))
        items = list(model_input["items"])
        carts: list[Any] = [[]] * len(items)
        if options.get("exclude_cart", False):
            if "cart" not in model_input:
                raise ValueError(f"exclude_cart needs a column 'cart', received {list(model_input.columns)}")
            carts = list(model_input["cart"])
        columns = {name: list(model_input[name]) for name in self._model.columns if name in model_input}
        lists: list[tuple[list[str], list[float]]] = []
        for row, session in enumerate(items):
            values = {name: column[row] for name, column in columns.items()}
            try:
                left_out = [*exclude, *self._model.known("cart", carts[row])]
                answer = self._model.recommend(
                    session, k=k, exclude=left_out, exclude_seen=seen, context=values
                )
            except ValueError as error:
                raise ValueError(f"row {model_input.index[row]!r}: {error}") from error
            lists.append(answer)
        answers = {"items": [ids for ids, _ in lists], "scores": [scores for _, scores in lists]}
        return pd.DataFrame(answers, index=model_input.index)


mlflow.models.set_model(CheckoutRecommender())

"""What a catalogue says of the items: with it, models know items that have no event yet."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.data.sequences import SessionLog


@dataclass(frozen=True)
class ItemTable:
    """The items of a catalogue, at one moment.

    Attributes:
        ids: object [n], the item ids, each once.
        features: columns with one value per item; e.g. "category": object [n]. None and NaN mean unknown.
        joins: bool [n], the items that a model takes into its vocabulary before their first event.
    """

    ids: NDArray[np.object_]
    features: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    joins: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    def __post_init__(self) -> None:
        for name, column in (*self.features.items(), ("joins", self.joins)):
            if len(column) != len(self.ids):
                raise ValueError(f"column {name!r} has {len(column)} values for {len(self.ids)} items")

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.ids)

    def describe(self, log: SessionLog, known: Container[object]) -> SessionLog:
        """Return the log with the features of this table, and with the joining items in its catalogue.

        Where both the table and the log know a feature, the table's value counts.

        Args:
            log: the sessions.
            known: the items of the model. The table also describes these where the log has none of them.
        """
        in_log = set(log.catalogue)
        chosen = self.joins | np.array([item in in_log or item in known for item in self.ids], bool)
        features = {name: column[chosen] for name, column in self.features.items()}
        return log.with_items(self.ids[chosen], features)

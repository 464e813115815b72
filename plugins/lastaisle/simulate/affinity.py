"""The chances that one item follows another: models can learn this pattern from the simulated sessions.

A session has a shelf and a hidden style. The next item is near the current one on its shelf, popular, and of
the session's style. One item alone says little about the style, and the whole session says much. So a model
of sessions can beat the co-occurrence of single items here.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lastaisle.simulate.catalogue import STYLES, Catalogue
from lastaisle.simulate.draws import Floats, Ints
from lastaisle.simulate.options import Day

NEIGHBOURS = 20
NEARNESS = 0.75
STYLE_PULL = 2.2
POPULARITY_PULL = 0.9


@dataclass(frozen=True)
class Affinity:
    """One day's tables to draw items from.

    Attributes:
        demand: [n_shelves] demand for each shelf, as weights.
        neighbours: [n_items, STYLES, NEIGHBOURS] items that may follow an item; -1 where an item has
            fewer neighbours.
        neighbours_cumulative: the same shape, cumulative chances, ending with 1.
        shelf_order: [n_items] items sorted by shelf.
        shelf_bounds: [n_shelves + 1] the position in shelf_order at which each shelf starts.
        shelf_cumulative: [STYLES, n_items + 1] cumulative weights along shelf_order.
    """

    demand: Floats
    neighbours: npt.NDArray[np.int32]
    neighbours_cumulative: npt.NDArray[np.float32]
    shelf_order: Ints
    shelf_bounds: Ints
    shelf_cumulative: Floats

    def follow(self, rng: np.random.Generator, items: Ints, styles: Ints) -> Ints:
        """Draw an item that goes with each of the items, in its session's style."""
        cumulative = self.neighbours_cumulative[items, styles]
        drawn_place = (cumulative < rng.random(len(items))[:, None]).sum(axis=1)
        drawn = self.neighbours[items, styles, np.minimum(drawn_place, NEIGHBOURS - 1)]
        return np.where(drawn < 0, items, drawn).astype(np.int64)

    def browse(self, rng: np.random.Generator, shelves: Ints, styles: Ints) -> Ints:
        """Draw a popular item of each shelf, in its session's style; no shelf may be empty."""
        drawn = np.empty(len(shelves), dtype=np.int64)
        uniform = rng.random(len(shelves))
        for style in range(STYLES):
            of_style = styles == style
            cumulative = self.shelf_cumulative[style]
            low, high = self.shelf_bounds[shelves[of_style]], self.shelf_bounds[shelves[of_style] + 1]
            target = cumulative[low] + uniform[of_style] * (cumulative[high] - cumulative[low])
            place = np.searchsorted(cumulative, target, side="right") - 1
            drawn[of_style] = self.shelf_order[np.clip(place, low, high - 1)]
        return drawn


def affinity_of(catalogue: Catalogue, day: Day) -> Affinity:
    """Build the day's tables from positions, styles and popularity."""
    popularity = catalogue.log_popularity(day.number)
    order = np.argsort(catalogue.shelf, kind="stable")
    bounds = np.searchsorted(catalogue.shelf[order], np.arange(catalogue.n_shelves + 1))
    match = STYLE_PULL * (catalogue.style[None, :] == np.arange(STYLES)[:, None])
    weights = np.exp(popularity[None, :] + match)[:, order]
    neighbours = np.full((len(catalogue), STYLES, NEIGHBOURS), -1, dtype=np.int32)
    cumulative = np.ones((len(catalogue), STYLES, NEIGHBOURS), dtype=np.float32)
    for low, high in pairwise(bounds.tolist()):
        members = order[low:high]
        if len(members) > 1:
            chances = POPULARITY_PULL * popularity[members] + match[:, members]
            _fill_shelf(members, catalogue.position[members], chances, neighbours, cumulative)
    return Affinity(
        demand=catalogue.shelf_weights(day.date),
        neighbours=neighbours,
        neighbours_cumulative=cumulative,
        shelf_order=order,
        shelf_bounds=bounds,
        shelf_cumulative=np.c_[np.zeros(STYLES), np.cumsum(weights, axis=1)],
    )


def _fill_shelf(
    members: Ints,
    position: Floats,
    chances: Floats,
    neighbours: npt.NDArray[np.int32],
    cumulative: npt.NDArray[np.float32],
) -> None:
    """Write the neighbours of one shelf's items; chances is [STYLES, n_members] without nearness."""
    distance = ((position[:, None, :] - position[None, :, :]) ** 2).sum(axis=2)
    nearness = -distance / (2 * NEARNESS**2)
    np.fill_diagonal(nearness, -np.inf)
    count = min(NEIGHBOURS, len(members) - 1)
    for style in range(STYLES):
        score = nearness + chances[style][None, :]
        best = np.argsort(-score, axis=1, kind="stable")[:, :count]
        weight = np.exp(np.take_along_axis(score, best, axis=1) - score.max(axis=1, keepdims=True))
        neighbours[members, style, :count] = members[best]
        cumulative[members, style, :count] = np.cumsum(weight, axis=1) / weight.sum(axis=1, keepdims=True)

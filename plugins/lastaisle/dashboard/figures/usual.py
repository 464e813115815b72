"""The usual band of each measure of the shop: what alerts judge by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, cast

from lastaisle.baseline.fit import DAY
from lastaisle.baseline.hours import moment_of, sum_hours
from lastaisle.dashboard.figures.cube import shop_cube
from lastaisle.errors import NotEnoughDataError
from lastaisle.lake.tables import EVENTS, SHOP_METRICS
from lastaisle.monitor.alerts.config import read_config
from lastaisle.monitor.alerts.rules.shop_drop import MEASURES_OF
from lastaisle.monitor.alerts.shop.band import Band, bands_of
from lastaisle.monitor.alerts.shop.limits import ShopDropOptions

if TYPE_CHECKING:
    from lastaisle.dashboard.figures.shop import Metric
    from lastaisle.dashboard.source import Source

LENGTHS: Final = {"hour": 1, "day": DAY}
"""The periods that have a band, with their hours. A band needs past weeks, so a week has none."""
Ends = tuple[float, float, float]


@dataclass(frozen=True)
class Usual:
    """The bands of all placements.

    Attributes:
        bands: placement (None = the whole shop), measure and length to the band.
        currency: the currency of the band of revenue.
    """

    bands: Mapping[tuple[str | None, str, int], Band] = field(default_factory=dict)
    currency: str | None = None

    def of(self, metric: Metric, placement: str | None, every: str) -> dict[datetime, Ends]:
        """Return the usual rate of a metric and the ends of its interval, by the start of each period.

        It is empty for a metric that no alert judges, and without enough history.

        Args:
            metric: the metric.
            placement: the placement; None = the whole shop, which may have one placement only.
            every: hour, day or week.
        """
        if metric.currency is not None and metric.currency != self.currency:
            return {}
        measure = metric.name if metric.currency is None else "revenue_per_session"
        length = LENGTHS.get(every, 0)
        placements = {own for own, _, _ in self.bands}
        if placement is None and len(placements) == 1:
            (placement,) = placements
        band = self.bands.get((placement, measure, length))
        if band is None:
            return {}
        rates = zip(band.usual.tolist(), band.low.tolist(), band.high.tolist(), strict=True)
        return dict(zip(map(moment_of, band.starts.tolist()), rates, strict=True))


def find_usual(source: Source) -> Usual:
    """Return the bands, with the limits that the alerts have.

    Raises:
        AlertConfigError: the file of LASTAISLE_ALERTS cannot be used.
        BeingReadError: they are still being computed.
    """
    return source.once("usual", [SHOP_METRICS, EVENTS], lambda: _compute(source), is_slow=True)


def _compute(source: Source) -> Usual:
    cube, config = shop_cube(source), read_config(source.settings)
    if cube is None:
        return Usual()
    bands: dict[tuple[str | None, str, int], Band] = {}
    currency = None
    for rule, measures in MEASURES_OF.items():
        options = cast(ShopDropOptions, config.options_of(rule))
        if options.off:
            continue
        try:
            shop = sum_hours(source.lake, cube.watched, options.maturity_hours, by=("placement", "segment"))
        except NotEnoughDataError:  # without events nobody knows which hours are complete
            return Usual()
        currency = shop.currency
        bands |= bands_of(shop, measures, options, LENGTHS.values())
    return Usual(bands, currency)

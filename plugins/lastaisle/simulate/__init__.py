"""A simulated shop for users without logs. Equal options give equal logs; reports hold the true counts."""

from __future__ import annotations

from lastaisle.simulate.options import ShopOptions, ShopOptionsError
from lastaisle.simulate.shop import DayOfLogs, Truth, simulate
from lastaisle.simulate.write import SimulationReport, day_file, write_logs

__all__ = [
    "DayOfLogs",
    "ShopOptions",
    "ShopOptionsError",
    "SimulationReport",
    "Truth",
    "day_file",
    "simulate",
    "write_logs",
]

"""Intervals that hold at all looks together, however often and until whenever somebody looks.

Source: I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas, Time-uniform central limit theory and
asymptotic confidence sequences, Annals of Statistics 2024 (arXiv 2103.06476), theorem 2.2 and appendix B.2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import lambertw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def tuned_rho(planned_units: float, alpha: float) -> float:
    """Return the parameter that makes the sequence narrowest after a planned number of units.

    It has to be chosen before the first look. The sequence is valid with each value.

    Args:
        planned_units: how many units the experiment should have at its end; above 0.
        alpha: the share of experiments whose sequence may miss the truth at any time; between 0 and 1.
    """
    if planned_units <= 0 or not 0 < alpha < 1:
        raise ValueError(f"units above 0 and alpha between 0 and 1: received {planned_units} and {alpha}")
    return math.sqrt((-float(lambertw(-(alpha**2) / math.e, k=-1).real) - 1) / planned_units)


def critical_value(units: Any, rho: float, alpha: float) -> Floats:
    """Return half of the width of the sequence in standard errors of the estimate.

    The counterpart of 1.96 of an ordinary interval of 95 %.

    Args:
        units: the number of units so far, of all arms together; infinite for 0 units.
        rho: the parameter of `tuned_rho`.
        alpha: the share of sequences that may miss the truth at any time.
    """
    spread = np.asarray(units, dtype=float) * rho**2
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.sqrt(2 * (spread + 1) / spread * np.log(np.sqrt(spread + 1) / alpha))
    return np.where(spread > 0, value, np.inf)

"""Groups of shoppers within which the arms were drawn with the same shares.

A shopper belongs to the phase of the first exposure. Of buckets that took part in earlier phases, shoppers
who come often are gone: they had their first exposure then. So such buckets are a stratum of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from lastaisle.experiments.assignment import BUCKETS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lastaisle.experiments.traffic import Trial


@dataclass(frozen=True)
class Strata:
    """The strata of a trial.

    Attributes:
        buckets: one row for each phase and bucket: `phase`, `bucket`, `stratum`, and `arm`, which is NULL
            where the phase leaves the bucket out.
        shares: for each stratum the expected share of each arm, in the order of the trial's arms; all 0 if no
            bucket of the stratum has an arm.
    """

    buckets: pa.Table
    shares: NDArray[np.float64]

    @classmethod
    def of(cls, trial: Trial) -> Strata:
        """Return the strata of a trial with phases."""
        names = [arm.name for arm in trial.arms]
        owners = np.full((len(trial.phases), BUCKETS), -1)
        for phase, found in enumerate(trial.phases):
            for arm, first, end in found.ranges:
                owners[phase, first:end] = names.index(arm)
        took_part = np.zeros(BUCKETS, dtype=np.int64)
        strata = np.empty_like(owners)
        shares: list[NDArray[np.float64]] = []
        for phase, row in enumerate(owners):
            for pattern in np.unique(took_part):
                chosen = took_part == pattern
                strata[phase, chosen] = len(shares)
                counts = np.bincount(row[chosen & (row >= 0)], minlength=len(names)).astype(float)
                shares.append(counts / max(counts.sum(), 1.0))
            took_part = np.unique(took_part * 2 + (row >= 0), return_inverse=True)[1]
        arms = pa.array(names).take(pa.array(owners.ravel(), mask=owners.ravel() < 0))
        columns = {
            "phase": np.repeat(np.arange(len(trial.phases)), BUCKETS),
            "bucket": np.tile(np.arange(BUCKETS), len(trial.phases)),
            "stratum": strata.ravel(),
            "arm": arms,
        }
        return cls(pa.table(columns), np.array(shares).reshape(-1, len(names)))

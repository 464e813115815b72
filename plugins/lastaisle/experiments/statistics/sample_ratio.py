"""Whether the arms have the shoppers that the allocation gives them: a test for any number of looks.

Source: M. Lindon, A. Malek, Anytime-valid inference for multinomial count data, NeurIPS 2022. The evidence is
a Bayes factor: the shares of a Dirichlet distribution around the expected shares, against the expected
shares. Where the ratio is right, it exceeds 1 / alpha at any time in at most alpha of all experiments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.special import gammaln

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

#: Of so many experiments with the right ratio, one may raise an alarm.
ALPHA: Final = 0.001
#: How close to the expected shares the test looks: the paper's 10,000 finds a hundredth of a share.
CONCENTRATION: Final = 10_000.0


def log_evidence(counts: Any, shares: Any, *, concentration: float = CONCENTRATION) -> Floats:
    """Return the natural logarithm of the evidence against the expected shares, for each group.

    The evidence of independent strata is the sum of their logarithms.

    Args:
        counts: the units of each arm, on the last axis.
        shares: the expected share of each arm, above 0 and together 1.
        concentration: how close to the expected shares the test looks.
    """
    units, expected = np.asarray(counts, dtype=float), np.asarray(shares, dtype=float)
    prior = concentration * expected
    mixed = gammaln(concentration) - gammaln(concentration + units.sum(-1))
    mixed = mixed + (gammaln(prior + units) - gammaln(prior)).sum(-1)
    evidence: Floats = mixed - (units * np.log(expected)).sum(-1)
    return evidence


def always_valid_p(evidence: Any) -> Floats:
    """Return the p-value for any number of looks, from the largest evidence (a logarithm) until each look.

    Args:
        evidence: the logarithms, in the order of the looks on the last axis.
    """
    return np.exp(-np.maximum(np.maximum.accumulate(np.asarray(evidence, dtype=float), -1), 0.0))

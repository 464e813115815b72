"""What epsilon means, in plain words."""

from __future__ import annotations

import math
from typing import Final

COVERS: Final = {
    "shopper": "all sessions of a shopper together, as far as one user id names the shopper.",
    "session": "one session. A shopper with several sessions is covered less.",
}


def in_plain_words(epsilon: float) -> str:
    """Say what epsilon allows: how far a guess about one person can be improved.

    By Bayes' rule, a guess with even chances that a person is in the data rises to at most e^epsilon /
    (1 + e^epsilon), apart from the probability delta.
    """
    chance = 100 / (1 + math.exp(-epsilon))
    shown = f"{chance:.0f}" if chance < 99.5 else f"{min(chance, 99.99):.4g}"
    return (
        "whoever sees this version and guesses whether one person's data was in its training can be right in "
        f"at most {shown} of 100 cases, where a coin is right in 50."
    )

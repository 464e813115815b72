"""What private trainings spent of the privacy budget of shoppers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lastaisle.audit.finding import Finding, State
from lastaisle.audit.scope import NotKnown, Scope, judged
from lastaisle.lake.tables import PRIVACY_SPENT, TRAINING_RUNS
from lastaisle.privacy.budget.budget import budget_of

SPENT: Final = "lastaisle privacy budget"


def spent(scope: Scope) -> Iterator[Finding]:
    """Tell what the shopper who spends most has spent in a year, against the budget.

    Trainings without noise are told too, since nothing bounds what they reveal.
    """
    if scope.lake.version(PRIVACY_SPENT) is None and scope.lake.version(TRAINING_RUNS) is None:
        raise NotKnown("no training ran yet")
    found = budget_of(scope.lake, scope.settings.privacy, min(scope.now, scope.end))
    if not found.units:
        told = "No private training ran in the year before the last day."
        yield Finding("budget", "epsilon of a year", State.OK, told, SPENT, 0.0)
    for one in found.units:
        told = f"The {one.unit} who spends most spent epsilon {one.spent.epsilon:.2f} in a year"
        told += f" in {one.in_windows} of {len(one.trainings)} private trainings"
        told += f", of {found.limit:g} (delta {found.delta:g})." if found.limit else "; no budget is set."
        is_kept = not found.limit or one.spent.epsilon <= found.limit
        name = f"epsilon of a year by {one.unit}"
        yield Finding("budget", name, judged(is_kept), told, SPENT, round(one.spent.epsilon, 4))
    plain = len(found.not_private)
    told = f"{plain} trainings of the year had no noise, so that nothing bounds what they reveal."
    is_kept = not (plain and found.limit)  # a shop that set a budget meant every training
    yield Finding("budget", "trainings without noise", judged(is_kept), told, SPENT, plain)

"""The rule budget: the privacy budget of shoppers is nearly spent, or has no room for another training."""

from __future__ import annotations

import math

from pydantic import Field

from lastaisle.lake.tables import PRIVACY_SPENT
from lastaisle.monitor.alerts.context import Context, RuleOptions
from lastaisle.monitor.alerts.model import BUDGET, Evidence, Finding
from lastaisle.monitor.alerts.rules.words import share
from lastaisle.privacy.budget.budget import YEAR, Budget, budget_of, forecast

_QUERY = (
    f"SELECT finished_at, run_key, window_start, window_end, shoppers, epsilon, delta FROM {PRIVACY_SPENT} "
    "ORDER BY finished_at DESC"
)


class BudgetOptions(RuleOptions):
    """The limits of budget."""

    warning_share: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="The share of the budget from which on there is a warning.",
    )


def check(context: Context[BudgetOptions]) -> list[Finding]:
    """Find a budget that is nearly spent. Without a budget, or without a private training, nothing is found.

    RDP alone is quick and bounds epsilon from above. So PLD is computed only near the limit.
    """
    privacy, limit = context.settings.privacy, context.options.warning_share
    if not privacy.epsilon or context.lake.version(PRIVACY_SPENT) is None:
        return []
    for with_pld in (False, True):
        budget = budget_of(context.lake, privacy, context.now, with_pld=with_pld)
        if budget.worst is None or (budget.share or 0.0) < limit:
            return []
    return [_finding(budget)]


def _finding(budget: Budget) -> Finding:
    worst, ahead = budget.worst, forecast(budget)
    assert worst is not None and ahead is not None, "a private training spent a part of a budget"
    counted = "1 more training fits" if ahead.more == 1 else f"{ahead.more or 'no'} more trainings fit"
    lasts = (
        ""
        if ahead.days is None or not ahead.more
        else f", which are {ahead.days:.0f} days at the present rate"
    )
    spent = f"{share(budget.share or 0)} of it" if math.isfinite(budget.epsilon) else "all of its delta"
    return Finding(
        BUDGET,
        "warning" if ahead.more else "critical",
        {"unit": worst.unit},
        f"The privacy budget of a {worst.unit} is epsilon {budget.limit:g} in {YEAR.days} days, and the "
        f"private trainings spent {spent} (epsilon {budget.epsilon:.3g} at delta {budget.delta:g}). Of "
        f"trainings like the newest, {counted}{lasts}.",
        max(one.finished_at for one in worst.trainings),
        (
            Evidence("What each training spent", table=PRIVACY_SPENT, query=_QUERY),
            Evidence("The budget and its forecast", query="lastaisle privacy budget"),
        ),
    )

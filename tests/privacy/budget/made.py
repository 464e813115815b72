"""Made trainings for the tests of the budget."""

from datetime import UTC, datetime, timedelta

from lastaisle.privacy.budget.spent import Spending
from models.private.mechanism import Mechanism

DAY0 = datetime(2026, 6, 1, tzinfo=UTC)
NOW = DAY0 + timedelta(days=20)
MECHANISM = Mechanism("shopper", 0.02, 1.0, 300, 1.0, 1000)
WEAK = Mechanism("shopper", 1.0, 4.0, 1, 1.0, 100)  # one release of normal noise: quick to compose


def spending(run_id, first=0, last=1, *, mechanism=MECHANISM, finished=None, **changes):
    """Return a training on the days [first, last) since DAY0, which finished at the end of its window."""
    end = DAY0 + timedelta(days=last)
    given = {
        "run_key": f"incremental-{run_id}",
        "run_id": run_id,
        "model_name": "checkout-recommender",
        "architecture": "attention",
        "unit": mechanism.unit,
        "window_start": DAY0 + timedelta(days=first),
        "window_end": end,
        "shoppers": mechanism.shoppers,
        "mechanism": mechanism,
        "epsilon": 1.5,
        "delta": 1e-6,
        "finished_at": finished or end,
    }
    return Spending(**{**given, **changes})

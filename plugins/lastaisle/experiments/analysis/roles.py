"""Which metrics an analysis looks at, and what for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from lastaisle.experiments.analysis.errors import AnalysisError
from lastaisle.experiments.metrics import METRICS

if TYPE_CHECKING:
    from lastaisle.experiments.traffic import AnalysisRules

Role = Literal["primary", "guardrail"]
PRIMARY: Final = "primary"
GUARDRAIL: Final = "guardrail"


def metrics_of(rules: AnalysisRules) -> dict[str, Role]:
    """Return the metrics of an analysis with their roles, the primary metric first.

    Raises:
        AnalysisError: a metric is not known.
    """
    roles: dict[str, Role] = dict.fromkeys((rules.primary, *rules.guardrails), GUARDRAIL)
    unknown = [name for name in roles if name not in METRICS]
    if unknown:
        raise AnalysisError(
            f"the metric {unknown[0]!r} is not known; metrics are {', '.join(METRICS)}. Stop the experiment, "
            "and define it again with another metric"
        )
    return roles | {rules.primary: PRIMARY}

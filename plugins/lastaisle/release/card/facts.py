"""What a model card says of a version comes from these facts, in these words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lastaisle.evaluation.report import Estimate, EvaluationReport, Scores
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.release.gate import Decision


@dataclass(frozen=True)
class Facts:
    """What was recorded of a version, and all that its card says.

    Attributes:
        version: its number in the registry.
        plan: what its training did.
        report: what its evaluation measured.
        decision: what the gate decided.
        tags: of its MLflow run.
        measured: the metrics of its MLflow run.
        trained_at: when its training ended, UTC.
    """

    version: str
    plan: TrainingPlan
    report: EvaluationReport
    decision: Decision
    tags: Mapping[str, str]
    measured: Mapping[str, float]
    trained_at: datetime

    @property
    def title(self) -> str:
        """The card's heading."""
        return f"Model card: {self.plan.model_name}, version {self.version}"

    @property
    def verdict(self) -> str:
        """What the gate said, in a word."""
        return "promoted" if self.decision.promote else "refused"

    @property
    def rival(self) -> str:
        """The part of the evaluation that the candidate was held against: the champion, if there was one."""
        return "popularity" if self.report.champion is None else "champion"


def escape(text: object) -> str:
    """Return text as Markdown that shows it as it is: no markup, no HTML, no links, in one line."""
    return re.sub(r"[\\`*<&|~]|\](?=[(\[])", r"\\\g<0>", " ".join(str(text).split()))


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(scores: Scores, metric: str) -> str:
    """Return a metric with its interval; coverage has none."""
    estimate = scores.metrics[metric]
    interval = f" [{estimate.low:.4f}, {estimate.high:.4f}]"
    return f"{estimate.value:.4f}{'' if metric.startswith('coverage') else interval}"


def with_interval(estimate: Estimate) -> str:
    """Return a mean with its interval."""
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def signed(estimate: Estimate) -> str:
    """Return a difference with its interval."""
    return f"{estimate.value:+.4f} [{estimate.low:+.4f}, {estimate.high:+.4f}]"


def counted(number: float, unit: str) -> str:
    """Return "1 epoch", "2 epochs"."""
    number_shown = f"{number:,.0f}"
    return f"{number_shown} {unit}{'' if number_shown == '1' else 's'}"


def percent(share: float) -> str:
    """Return 0.123 as "12.3 %"."""
    return f"{100 * share:.1f} %"


def moment_of(moment: datetime) -> str:
    """Return a moment to the minute, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def hours_between(start: datetime, end: datetime) -> str:
    """Return a length of time in hours."""
    return f"{(end - start).total_seconds() / 3600:g} hours"


def code_span(text: str) -> str:
    """Return text for a code span, which knows no escapes: what would end it is replaced."""
    return " ".join(text.split()).replace("`", "'").replace("|", "¦")

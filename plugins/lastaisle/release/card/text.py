"""How a model card writes numbers and names as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

if TYPE_CHECKING:
    from lastaisle.evaluation.report import Estimate, Scores


class Markdown(str):
    """Text that is Markdown already, so that a template does not escape it again."""

    __slots__ = ()


def escape(text: object) -> str:
    """Return text as Markdown that shows it unchanged: no markup, no HTML, no links, in one line."""
    return re.sub(r"[\\`*<&|~]|\](?=[(\[])", r"\\\g<0>", " ".join(str(text).split()))


def escape_unless_markdown(value: object) -> object:
    """Escape what a template puts out, except what one of these functions made Markdown."""
    return value if isinstance(value, Markdown) else escape(value)


def markdown_environment(package: str) -> Environment:
    """Return an environment for the templates of a package, which escapes every value as Markdown."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=False,  # escapes HTML; these templates write Markdown, which `finalize` escapes
        finalize=escape_unless_markdown,
        keep_trailing_newline=True,
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )


def code(text: object) -> Markdown:
    """Return text as a code span. Markdown has no escapes there, so characters that end it are replaced."""
    inner = " ".join(str(text).split()).replace("`", "'").replace("|", "¦")
    return Markdown(f"`{inner}`")


def table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> Markdown:
    """Return a Markdown table; every cell is escaped unless it is Markdown already."""
    lines = [header, [Markdown("---")] * len(header), *rows]
    cells = ([str(escape_unless_markdown(cell)) for cell in line] for line in lines)
    return Markdown("\n".join(f"| {' | '.join(line)} |" for line in cells))


def metric_with_interval(scores: Scores, metric: str) -> str:
    """Return a metric with its interval; coverage has no interval."""
    estimate = scores.metrics[metric]
    return f"{estimate.value:.4f}" if metric.startswith("coverage") else with_interval(estimate)


def with_interval(estimate: Estimate) -> str:
    """Return a mean with its interval."""
    return f"{estimate.value:.4f} [{estimate.low:.4f}, {estimate.high:.4f}]"


def signed(estimate: Estimate) -> str:
    """Return a difference with its interval, with signs."""
    return f"{estimate.value:+.4f} [{estimate.low:+.4f}, {estimate.high:+.4f}]"


def counted(number: float, unit: str) -> str:
    """Return a number with its unit: "1 epoch", "2 epochs"."""
    written = f"{number:,.0f}"
    return f"{written} {unit}{'' if written == '1' else 's'}"


def percent(share: float, digits: int = 1) -> str:
    """Return a share in per cent: 0.123 is "12.3 %"."""
    return f"{100 * share:.{digits}f} %"


def hours_between(start: datetime, end: datetime) -> str:
    """Return the length of a time in hours."""
    return f"{(end - start).total_seconds() / 3600:g} hours"


def whole(number: float) -> str:
    """Return a number without digits after the point, with commas between thousands."""
    return f"{number:,.0f}"

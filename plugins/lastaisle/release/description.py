"""The description of a version in MLflow: where the version is now, and the gate's decision as a table.

The first paragraph says where the version is now. Every move writes this paragraph anew, and leaves the rest,
also sentences of people, as it is.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from mlflow.exceptions import MlflowException

from lastaisle.registry.tags import DECISION, STATE_NOW, VERSION
from lastaisle.release.card.text import Markdown, escape, metric_with_interval, table
from lastaisle.release.decision_table import COLUMNS, number, rows_of
from lastaisle.release.fate import Fate, fates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lastaisle.registry.ledger import Move
    from lastaisle.registry.registry import Registry
    from lastaisle.release.card.facts import Facts

NOW: Final = "Now: "  # plain text: the list of versions shows the first words as they are
LONGEST_REASON: Final = 600  # characters; MLflow's database holds 5,000 of a description

logger = logging.getLogger(__name__)


def describe_decision(facts: Facts, pages: Mapping[str, str]) -> str:
    """Write the gate's decision on a version as Markdown: the verdict, the table, three metrics and links.

    Args:
        facts: the records of the version.
        pages: the text of each link to its address.
    """
    overall = facts.report.served_scores("candidate")
    named = ("recall@20", "mrr@20", "coverage@20")
    figures = ", ".join(f"{name} {metric_with_interval(overall, name)}" for name in named)
    checks = facts.decision.checks
    rows = [
        (rule, number(value).removesuffix(".0000"), _limit(limit or ""), says)
        for rule, value, limit, says, _ in rows_of(checks)
    ]
    broken = [check.reason for check in checks if not check.passed]
    parts = [
        *([shortened(facts.forced)] if facts.forced else []),
        f"**{facts.verdict.capitalize()}.** {shortened(' '.join(broken))}".strip(),
        table(COLUMNS[:-1], rows),
        f"{figures}, on {overall.targets:,} targets.",
        shortened(facts.privacy.words),
        " · ".join(f"[{text}]({address})" for text, address in pages.items()),
    ]
    return "\n\n".join(parts)


def with_decision(description: str, told: str) -> str:
    """Return a description with another decision; the paragraph that says where the version is stays."""
    first = description.partition("\n\n")[0]
    return f"{first}\n\n{told}" if first.startswith(NOW) else told


def with_state(description: str, sentence: str) -> str:
    """Return a description that says where the version is now, and else what it said before."""
    now = NOW + shortened(sentence)
    parts = [part for part in description.split("\n\n") if part]
    places = [place for place, part in enumerate(parts) if part.startswith(NOW)]
    if not places:
        return "\n\n".join([now, *parts])
    parts[places[0]] = now
    return "\n\n".join(parts)


def shortened(text: str) -> Markdown:
    """Return a text as one line of Markdown, cut if it is very long."""
    line = " ".join(text.split())
    line = line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…"
    return Markdown(escape(line).replace(r"\<", "&lt;"))  # MLflow shows the backslash before a <


def _limit(text: str) -> Markdown:
    """Return the limit of a rule with signs that need no escape."""
    signs = {">=": "\N{GREATER-THAN OR EQUAL TO}", "<=": "\N{LESS-THAN OR EQUAL TO}"}
    for written, sign in signs.items():
        text = text.replace(written, sign)
    return shortened(text)


def tell_states(moves: Sequence[Move], registry: Registry) -> bool:
    """Let the descriptions of the versions, and the tags of their runs, say what became of the versions.

    Args:
        moves: all moves of the ledger, oldest first.
        registry: where the versions are.

    Returns:
        Whether everything was written. MLflow may refuse; a log names the version, and the aliases of a move
        never depend on this.
    """
    try:
        held = registry.descriptions()
    except MlflowException as error:
        logger.warning("%s did not name the versions to describe: %s", registry.uri, error.message)
        return False
    written = True
    for version, fate in fates(moves).items():
        if version not in held or (told := with_state(held[version], fate.told)) == held[version]:
            continue
        try:
            _tag_run(fate, registry)
            registry.describe_version(version, told)
        except MlflowException as error:
            logger.warning("version %s could not be described: %s", version, error.message)
            written = False
    return written


def _tag_run(fate: Fate, registry: Registry) -> None:
    """Set the tags of a run that the run list shows; a run that people deleted is left alone."""
    if not registry.is_active(fate.run_id):
        return
    for name, value in ((VERSION, fate.version), (DECISION, fate.decision), (STATE_NOW, fate.state)):
        registry.set_tag(fate.run_id, name, value)

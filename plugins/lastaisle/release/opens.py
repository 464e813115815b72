"""The gate's first question: does the version open, and does it answer as the candidate that was judged?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastaisle.evaluation.answers import differing_share
from lastaisle.evaluation.judging import judging_of
from lastaisle.release.gate import Check
from models.stored import ModelError

if TYPE_CHECKING:
    from lastaisle.evaluation.report import EvaluationReport
    from lastaisle.registry.ledger import Ledger
    from lastaisle.registry.plan import TrainingPlan
    from lastaisle.registry.registry import Registry

MOST_DIFFERENCE = 0.01  # of the items: another processor may round a score in another way


def opens(
    version: str,
    plan: TrainingPlan,
    report: EvaluationReport,
    ledger: Ledger,
    registry: Registry,
) -> Check:
    """Open a version as a service gets it from the registry, and ask it for lists of judging sessions.

    Args:
        version: the registered version.
        plan: the plan of its training.
        report: the report of its evaluation.
        ledger: has the version's digest; its lake has the sessions.
        registry: where the version is.

    Returns:
        The outcome: broken if the files have changed or do not open, if the model fails on a session, or if
        its lists are not those that were judged.
    """
    limit = f"<= {MOST_DIFFERENCE:.4f}"
    try:
        model = registry.load_version(version, ledger.digest_of(version))
        versions = {role: each.version for role, each in report.models.items() if each.version}
        examples = judging_of(plan, versions, ledger.lake, registry).examples
        differing = differing_share(report.run_id, model, examples, registry)
    except ModelError as error:
        return Check("opens", False, f"The version cannot serve: {error}.")
    if differing is not None and differing > MOST_DIFFERENCE:
        return Check(
            "opens",
            False,
            f"The version cannot serve: {differing:.1%} of the items in its lists are not those that were "
            f"judged (at most {MOST_DIFFERENCE:.0%} may differ). Its files are not those that were judged.",
            differing,
            limit,
        )
    answers = "The version opens from the registry, and answers as it was judged."
    return Check("opens", True, answers, differing, None if differing is None else limit)

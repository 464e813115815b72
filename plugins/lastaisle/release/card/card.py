"""The model card of a version: what it is and learned from, how good it is, and where its limits are.

The sections follow Mitchell et al., Model Cards for Model Reporting (FAT* 2019, arXiv:1810.03993), in the
order in which the owner of a service asks. Every figure comes from what the run, its evaluation and the gate
recorded; no item, session or shopper is named.
"""

from __future__ import annotations

from datetime import timedelta

from lastaisle.release.card.facts import (
    Facts,
    code_span,
    counted,
    escape,
    hours_between,
    moment_of,
    percent,
    shown,
    table,
)
from lastaisle.release.card.limits import limits, privacy
from lastaisle.release.card.scores import metrics, slices

REASONS = {
    "bots": "for their length or pace, as bots",
    "without_consent": "for want of consent to personalization",
}


def model_card(facts: Facts) -> str:
    """Write the card as Markdown (CommonMark with tables)."""
    sections = (_details, _use, _data, metrics, slices, limits, privacy, _how_to_use)
    parts = (f"## {heading}\n\n{body}" for heading, body in (section(facts) for section in sections))
    return "\n\n".join([f"# {escape(facts.title)}", _summary(facts), *parts]) + "\n"


def short_description(facts: Facts) -> str:
    """Write what stands beside the version in the registry: the decision and the metrics that matter."""
    overall = facts.report.candidate.overall
    figures = ", ".join(f"{name} {shown(overall, name)}" for name in ("recall@20", "mrr@20", "coverage@20"))
    return (
        f"{facts.verdict.capitalize()}: {' '.join(facts.decision.reasons)}\n\n"
        f"{figures}, on {overall.targets:,} targets."
    )


def _summary(facts: Facts) -> str:
    recall = facts.report.candidate.overall.metrics["recall@20"]
    rival = facts.report.models[facts.rival]
    who = f"the champion, version {escape(rival.version)}," if rival.version else "the popularity baseline"
    hours = hours_between(facts.report.evaluated_from, facts.report.evaluated_to)
    return (
        f"**{facts.verdict.capitalize()} by the gate.** Of {facts.report.targets:,} next items in the "
        f"{hours} after its training window, it had {percent(recall.value)} among its "
        f"first 20 ({percent(recall.low)} to {percent(recall.high)}); "
        f"{who} had {percent(rival.overall.metrics['recall@20'].value)}."
    )


def _details(facts: Facts) -> tuple[str, str]:
    plan, measured = facts.plan, facts.measured
    if plan.warm_start_version is not None:
        how = f"{plan.kind}: from the weights of version {plan.warm_start_version} on"
    else:
        how = f"{plan.kind}: from scratch"
    work = ", ".join(counted(measured[f"train_{unit}s"], unit) for unit in ("epoch", "step", "second"))
    rows = [
        ("Task", "rank all items of a shop as the next one of a session"),
        ("Architecture", plan.architecture),
        ("Training", how),
        ("Trained", f"{moment_of(facts.trained_at)}, {work}"),
        ("Items known", f"{measured['items']:,.0f}, of which {measured['new_items']:,.0f} were new"),
        ("Training key", f"`{code_span(plan.run_key)}`"),
        ("MLflow run", f"`{code_span(facts.report.run_id)}`"),
        ("Code", f"revision `{code_span(facts.tags.get('lastaisle.git_revision', 'unknown'))}`"),
        ("Gate", facts.verdict),
    ]
    lines = [(name, value if "`" in value else escape(value)) for name, value in rows]
    options = ", ".join(f"`{code_span(f'{name}={value}')}`" for name, value in plan.options.items())
    checks = "\n".join(
        f"- {'kept' if check.passed else '**broken**'}: {escape(check.reason)}"
        for check in facts.decision.checks
    )
    return "Model details", (
        f"{table(('', ''), lines)}\n\nHyperparameters: {options}.\n\nWhat the gate asked for:\n\n{checks}"
    )


def _use(facts: Facts) -> tuple[str, str]:
    return "Intended use", (
        "For the checkout of the shop whose sessions it learned from: given the items that a visitor has "
        "looked at, put into the basket or ordered in this session, it lists the items likely to come next."
        "\n\n"
        "Not meant for other shops, for judging people, or for prices and stock, of which it knows nothing. "
        "What may not be shown to everyone has to be left out by the service (the parameter `exclude`)."
    )


def _data(facts: Facts) -> tuple[str, str]:
    plan, report, measured = facts.plan, facts.report, facts.measured
    left_out = {
        name.removeprefix("left_out_"): n for name, n in measured.items() if name.startswith("left_out_")
    }
    reasons = sorted({*left_out, *report.left_out})
    rows = [
        ("Sessions that", "ended in the window", "began in the hours after it"),
        ("From", moment_of(plan.window.start), moment_of(report.evaluated_from)),
        ("To", moment_of(plan.window.end), moment_of(report.evaluated_to)),
        ("Sessions used", f"{measured['train_sessions']:,.0f}", f"{report.sessions:,}"),
        ("Targets (next items)", f"{measured['train_targets']:,.0f}", f"{report.targets:,}"),
        *(
            (
                f"Sessions left out {REASONS.get(reason, reason)}",
                f"{left_out.get(reason, 0):,.0f}",
                f"{report.left_out[reason]:,}" if reason in report.left_out else "not recorded",
            )
            for reason in reasons
        ),
    ]
    sources = " and ".join(f"`{code_span(name)}` at version {n}" for name, n in plan.lake_versions.items())
    since = moment_of(plan.window.start - timedelta(hours=plan.replay_hours))
    replay = (
        f" A sample of older sessions, since {since}, was replayed, each with the mean weight of the newer."
        if plan.warm_start_version is not None
        else ""
    )
    contract = escape(facts.tags.get("lastaisle.contract_version", "unknown"))
    return "Data", (
        f"{table(('', 'training', 'evaluation'), [tuple(map(escape, row)) for row in rows])}\n\n"
        f"Read from the table {sources or '`events`'} under version {contract} of the data contract "
        "`events`. Views, additions to the basket and orders of one visit are a session; an item added or "
        "ordered counts once. A session weighs one half when it ended "
        f"{plan.window.half_life_hours:g} hours before the window's end.{replay}"
    )


def _how_to_use(facts: Facts) -> tuple[str, str]:
    name, version = facts.plan.model_name, facts.version
    code = f"""\
import mlflow
import pandas as pd

model = mlflow.pyfunc.load_model({f"models:/{name}/{version}"!r})
sessions = pd.DataFrame({{"items": [["ids of the items", "oldest first"], []]}})
print(model.predict(sessions, params={{"k": 20, "exclude_seen": True}}))"""
    return "How to use", (
        f"```python\n{code}\n```\n\n"
        "The answer has `items` and `scores`, lists, best first, one row a session. "
        f"`models:/{code_span(name)}@champion` is the version that serves; it moves only through the gate or "
        "a rollback."
    )

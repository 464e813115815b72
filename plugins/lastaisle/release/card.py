"""The model card of a version: what it is and learned from, how good it is, and where its limits are.

The sections follow Mitchell et al., Model Cards for Model Reporting (FAT* 2019, arXiv:1810.03993), in the
order in which the owner of a service asks. Every figure comes from what the run, its evaluation and the gate
recorded; no item, session or shopper is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lastaisle.release.measure import COLD_COUNT, COMPARED, KS, LEVEL, LONG_PREFIX
from lastaisle.release.registry import STATE

if TYPE_CHECKING:
    from lastaisle.release.gate import Decision
    from lastaisle.release.report import Estimate, EvaluationReport, Scores
    from lastaisle.training.plan import TrainingPlan

METRICS = ("precision", "recall", "hit_rate", "mrr", "ndcg", "coverage")
SLICES = {
    "short_sessions": f"fewer than {LONG_PREFIX} items came before the target",
    "long_sessions": f"{LONG_PREFIX} items or more came before the target",
    "cold_items": f"the target has fewer than {COLD_COUNT} events in the training window, or none",
    "returning": "the shopper was seen before the session",
    "first_time": "the shopper was not seen before, or is not known",
    "next_cart": "the session adds the target to the cart, then or later",
    "next_purchase": "the session buys the target, then or later",
}
REASONS = {"bots": "for their length, as bots", "without_consent": "for want of consent to personalization"}


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


def model_card(facts: Facts) -> str:
    """Write the card as Markdown (CommonMark with tables)."""
    sections = (_details, _use, _data, _metrics, _slices, _limits, _privacy, _how_to_use)
    parts = (f"## {heading}\n\n{body}" for heading, body in (section(facts) for section in sections))
    return "\n\n".join([f"# {escape(facts.title)}", _summary(facts), *parts]) + "\n"


def short_description(facts: Facts) -> str:
    """Write what stands beside the version in the registry: the decision and the metrics that matter."""
    overall = facts.report.candidate.overall
    metrics = ", ".join(f"{name} {_shown(overall, name)}" for name in ("recall@20", "mrr@20", "coverage@20"))
    return (
        f"{facts.verdict.capitalize()}: {' '.join(facts.decision.reasons)}\n\n"
        f"{metrics}, on {overall.targets:,} targets."
    )


def escape(text: object) -> str:
    """Return text as Markdown that shows it as it is: no markup, no HTML, no links, in one line."""
    return re.sub(r"[\\`*<&|~]|\](?=[(\[])", r"\\\g<0>", " ".join(str(text).split()))


def _summary(facts: Facts) -> str:
    recall = facts.report.candidate.overall.metrics["recall@20"]
    rival = facts.report.models[facts.rival]
    who = f"the champion, version {escape(rival.version)}," if rival.version else "the popularity baseline"
    return (
        f"**{facts.verdict.capitalize()} by the gate.** Of {facts.report.targets:,} next items in the "
        f"{_hours(facts.report.evaluated_from, facts.report.evaluated_to)} after its training window, it had "
        f"{_percent(recall.value)} among its first 20 ({_percent(recall.low)} to {_percent(recall.high)}); "
        f"{who} had {_percent(rival.overall.metrics['recall@20'].value)}."
    )


def _details(facts: Facts) -> tuple[str, str]:
    plan, measured = facts.plan, facts.measured
    if plan.warm_start_version is not None:
        how = f"{plan.kind}: from the weights of version {plan.warm_start_version} on"
    else:
        how = f"{plan.kind}: from scratch"
    work = ", ".join(_count(measured[f"train_{unit}s"], unit) for unit in ("epoch", "step", "second"))
    rows = [
        ("Task", "rank all items of a shop as the next one of a session"),
        ("Architecture", plan.architecture),
        ("Training", how),
        ("Trained", f"{_moment(facts.trained_at)}, {work}"),
        ("Items known", f"{measured['items']:,.0f}, of which {measured['new_items']:,.0f} were new"),
        ("Training key", f"`{_code(plan.run_key)}`"),
        ("MLflow run", f"`{_code(facts.report.run_id)}`"),
        ("Code", f"revision `{_code(facts.tags.get('lastaisle.git_revision', 'unknown'))}`"),
        ("Gate", facts.verdict),
    ]
    lines = [(name, value if "`" in value else escape(value)) for name, value in rows]
    options = ", ".join(f"`{_code(f'{name}={value}')}`" for name, value in plan.options.items())
    checks = "\n".join(
        f"- {'kept' if check.passed else '**broken**'}: {escape(check.reason)}"
        for check in facts.decision.checks
    )
    return "Model details", (
        f"{_table(('', ''), lines)}\n\nHyperparameters: {options}.\n\nWhat the gate asked for:\n\n{checks}"
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
        ("From", _moment(plan.window.start), _moment(report.evaluated_from)),
        ("To", _moment(plan.window.end), _moment(report.evaluated_to)),
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
    sources = " and ".join(f"`{_code(name)}` at version {n}" for name, n in plan.lake_versions.items())
    replay = (
        " Of sessions that the version before had learned from already, a sample was replayed."
        if plan.warm_start_version is not None
        else ""
    )
    contract = escape(facts.tags.get("lastaisle.contract_version", "unknown"))
    return "Data", (
        f"{_table(('', 'training', 'evaluation'), [tuple(map(escape, row)) for row in rows])}\n\n"
        f"Read from the table {sources or '`events`'} under version {contract} of the data contract "
        "`events`. Views, additions to the basket and orders of one visit are a session; an item added or "
        "ordered counts once. A session weighs one half when it ended "
        f"{plan.window.half_life_hours:g} hours before the window's end.{replay}"
    )


def _metrics(facts: Facts) -> tuple[str, str]:
    models = facts.report.models
    names = {name: f"{name} ({model.version})" if model.version else name for name, model in models.items()}
    compared = [
        (f"{metric}@20", *(_shown(model.overall, f"{metric}@20") for model in models.values()))
        for metric in METRICS
    ]
    overall = facts.report.candidate.overall
    by_length = [(metric, *(_shown(overall, f"{metric}@{k}") for k in KS)) for metric in METRICS]
    differences = [
        (escape(names[other]), *(_signed(found[metric]) for metric in ("recall@20", "mrr@20")))
        for other, found in overall.against.items()
    ]
    return "Metrics", "\n\n".join(
        [
            "Each next item of each evaluation session is ranked among all items. In brackets stands the "
            f"{LEVEL:.0%} bootstrap interval over sessions; coverage (the share of all items that any list "
            "shows) has none. With one target a prediction recall equals hit rate, and precision is that "
            "divided by k.",
            _table(("", *map(escape, names.values())), compared),
            "![Candidate, champion and baselines with their intervals](../plots/comparison.png)",
            "The candidate at other lengths of the list:",
            _table(("", *(f"k = {k}" for k in KS)), by_length),
            f"The candidate less each other model on the same targets, {facts.report.paired_level:.0%} "
            "intervals:",
            _table(("against", "recall@20", "mrr@20"), differences),
            *_objectives(facts),
        ]
    )


def _objectives(facts: Facts) -> Iterator[str]:
    """Write what a model is for beside the next item, where the evaluation had such targets."""
    candidate, rival = facts.report.candidate.objectives, facts.report.models[facts.rival].objectives
    if len(candidate) == 1:
        return
    header = (
        "objective",
        "targets",
        *(f"{who}{metric}" for who in ("", f"{facts.rival}'s ") for metric in COMPARED),
    )
    rows = (
        (
            name,
            f"{scores.targets:,}",
            *(_shown(one, metric) for one in (scores, rival[name]) for metric in COMPARED),
        )
        for name, scores in candidate.items()
    )
    yield "By what the shopper does with the next item: sees it, puts it into the cart, buys it."
    yield _table(header, rows)


def _slices(facts: Facts) -> tuple[str, str]:
    report, rival = facts.report, facts.rival
    judged = {check.name for check in facts.decision.checks}
    rows = []
    for name, scores in sorted(report.candidate.slices.items()):
        other = report.models[rival].slices[name]
        rows.append(
            (
                escape(name),
                f"{scores.targets:,}",
                _shown(scores, "recall@20"),
                _shown(other, "recall@20"),
                _signed(scores.against[rival]["recall@20"]),
                "yes" if f"slice_{name}" in judged else "no",
            )
        )
    header = ("slice", "targets", "recall@20", f"{rival}'s recall@20", "difference", "judged by the gate")
    meanings = "\n".join(
        f"- {escape(name)}: {SLICES.get(name, 'see the evaluation report')}"
        for name in sorted(report.candidate.slices)
    )
    return "Slices", (
        f"{_table(header, rows)}\n\n{meanings}\n\n"
        f"Intervals of differences are at {report.paired_level:.0%}.\n\n"
        "![recall@20 by slice](../plots/slices.png)"
    )


def _limits(facts: Facts) -> tuple[str, str]:
    return "Limits", "\n".join(f"- {line}" for line in _limit_lines(facts))


def _limit_lines(facts: Facts) -> Iterator[str]:
    report, plan = facts.report, facts.plan
    overall = report.candidate.overall
    recall = overall.metrics["recall@20"]
    yield (
        f"Measured on {report.sessions:,} sessions of one stretch of "
        f"{_hours(report.evaluated_from, report.evaluated_to)}; other hours, weekdays and seasons may differ."
    )
    if recall.high > recall.low:
        yield f"On these targets recall@20 is known to about ±{(recall.high - recall.low) / 2:.4f}."
    yield (
        "Measured on logs: whether shoppers take what it shows, and what they would have done without, needs "
        "an experiment."
    )
    yield (
        f"It knows the {facts.measured['items']:,.0f} items of its training. Others are passed over in a "
        "session and never recommended; a session without a known item gets the popular ones."
    )
    yield (
        f"Its lists of 20 showed {_percent(overall.metrics['coverage@20'].value)} of these items; the others "
        "were shown in none."
    )
    slices = report.candidate.slices
    yield from _weakest(slices, overall)
    if "returning" not in slices:
        yield "No shopper of the evaluation was seen before, so returning ones could not be told apart."
    unjudged = sorted(set(slices) - {check.name.removeprefix("slice_") for check in facts.decision.checks})
    if unjudged and report.champion is not None:
        yield f"Too few targets for the gate to judge: {escape(', '.join(unjudged))}."
    yield "Age, gender and origin of shoppers are not in the logs: how it treats such groups is unknown."
    yield (
        f"Shops move on: it has learned up to {_moment(plan.window.end)}, and gets worse with every day that "
        "it is not renewed."
    )


def _weakest(slices: Mapping[str, Scores], overall: Scores) -> Iterator[str]:
    """Name the slice with the lowest recall@20, where one is below the mean."""
    mean = overall.metrics["recall@20"].value
    below = {name: found for name, found in slices.items() if found.metrics["recall@20"].value < mean}
    if below:
        name, found = min(below.items(), key=lambda entry: entry[1].metrics["recall@20"].value)
        yield (
            f"Weakest on {escape(name)} ({found.targets / overall.targets:.0%} of the targets): recall@20 "
            f"{_shown(found, 'recall@20')}, where all targets have {mean:.4f}."
        )


def _privacy(facts: Facts) -> tuple[str, str]:
    from data_contracts.contract import load_contract

    contract = load_contract("raw_events")
    treated: dict[str, list[str]] = {}
    for field in contract.fields:
        treated.setdefault(field.treatment.action, []).append(f"`{_code(field.name)}`")
    words = {
        "pseudonymize": "replaced by pseudonyms (HMAC-SHA256, cut to 128 bits, with a key outside the lake)",
        "surrogate": "replaced by their place in the log",
        "coarsen": "coarsened",
        "drop": "dropped",
    }
    done = [f"{', '.join(treated[action])} {how}" for action, how in words.items() if action in treated]
    lines = [
        f"Before training, by the data contract `raw_events` (version {escape(contract.version)}): "
        f"{'; '.join(done)}. Item ids, their order and their times reach the model and, if its architecture "
        "reads them, what was done with the items, their category, brand and price, the device, country and "
        "region, and the shopper's pseudonym.",
        "A model that knows shoppers (`factorization`, `ncf`, `hybrid`) keeps their pseudonyms, each with "
        f"what it learned of its shopper, in the artifact `{STATE}` of its run, for the next warm start; "
        "`hybrid` in the packed model too, unless it was trained with `users=0`.",
        f"{facts.measured.get('left_out_without_consent', 0):,.0f} sessions of the window were left out, "
        "since the shopper's latest event does not consent to personalization.",
        "Whoever refuses after this training is left out of the next one. What this version and those that "
        "it started from have learned of them stays in it, and in its successors until a training from "
        "scratch.",
        "No differential privacy: this version was trained without clipping or noise, so there is no bound "
        "(epsilon) on what it may reveal of one session. An item that only one shopper looked at is among "
        "its items, and what came before and after it shapes the recommendations.",
        "This card names no item, session or shopper.",
    ]
    return "Privacy", "\n".join(f"- {line}" for line in lines)


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
        f"`models:/{_code(name)}@champion` is the version that serves; it moves only through the gate or a "
        "rollback."
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(scores: Scores, metric: str) -> str:
    """Return a metric with its interval; coverage has none."""
    estimate = scores.metrics[metric]
    interval = f" [{estimate.low:.4f}, {estimate.high:.4f}]"
    return f"{estimate.value:.4f}{'' if metric.startswith('coverage') else interval}"


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+.4f} [{estimate.low:+.4f}, {estimate.high:+.4f}]"


def _count(number: float, unit: str) -> str:
    shown = f"{number:,.0f}"
    return f"{shown} {unit}" if shown == "1" else f"{shown} {unit}s"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _moment(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _hours(start: datetime, end: datetime) -> str:
    return f"{(end - start).total_seconds() / 3600:g} hours"


def _code(text: str) -> str:
    """Return text for a code span, which knows no escapes: what would end it is replaced."""
    return " ".join(text.split()).replace("`", "'").replace("|", "¦")

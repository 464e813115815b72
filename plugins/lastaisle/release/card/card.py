"""The model card of a version: what it is, what it learned from, how good it is, and where its limits are.

The sections follow Mitchell et al., Model Cards for Model Reporting (FAT* 2019, arXiv:1810.03993), in the
order in which the owner of a service asks. Every figure comes from the records of the run, its evaluation and
the gate. The card names no item, session or shopper.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from jinja2 import Environment

from data_contracts.contract import Contract, load_contract
from lastaisle.evaluation.measure import COLD_COUNT, COMPARED, KS, LEVEL, LONG_PREFIX
from lastaisle.evaluation.report import Scores
from lastaisle.registry.registry import STATE
from lastaisle.release.card import text
from lastaisle.release.card.facts import Facts
from lastaisle.release.card.plain import COVERS, in_plain_words
from lastaisle.release.card.text import Markdown, code, metric_with_interval, signed, whole
from lastaisle.telemetry.shown import utc
from lastaisle.training.kinds import kind_for
from models.evaluation.objectives import NEW_ITEM

METRICS = ("precision", "recall", "hit_rate", "mrr", "ndcg", "coverage")
LEFT_OUT = {
    "bots": "for their length or pace, as bots",
    "without_consent": "for want of consent to personalization",
}
SLICES = {
    "short_sessions": f"fewer than {LONG_PREFIX} items came before the target",
    "long_sessions": f"{LONG_PREFIX} items or more came before the target",
    "cold_items": f"the target has fewer than {COLD_COUNT} events in the training window, or none",
    "returning": "the shopper was seen before the session",
    "first_time": "the shopper was not seen before, or is not known",
    "next_cart": "the session adds the target to the cart, then or later",
    "next_purchase": "the session buys the target, then or later",
}
TREATMENTS = {
    "pseudonymize": "replaced by pseudonyms (HMAC-SHA256, cut to 128 bits, with a key outside the lake)",
    "surrogate": "replaced by their place in the log",
    "coarsen": "coarsened, which hides details and no person: an item and a second point to one shopper",
    "drop": "dropped",
}


@dataclass(frozen=True)
class Weakest:
    """The slice with the lowest recall@20.

    Attributes:
        name: the slice's.
        share: of all targets, those of the slice.
        scores: on the slice.
    """

    name: str
    share: float
    scores: Scores


def model_card(facts: Facts) -> str:
    """Write the card as Markdown (CommonMark with tables)."""
    return _environment().get_template("model_card.md.j2").render(_content(facts))


def _environment() -> Environment:
    """Return the environment of the card, with the functions that its template calls."""
    environment = text.markdown_environment("lastaisle.release.card")
    for function in (
        text.code,
        text.hours_between,
        text.metric_with_interval,
        text.percent,
        text.table,
        utc,
        text.whole,
        text.with_interval,
    ):
        environment.globals[function.__name__] = function
    return environment


def _content(facts: Facts) -> dict[str, Any]:
    """Return the values that the template of the card reads."""
    plan, report = facts.plan, facts.report
    overall, contract = report.served_scores("candidate"), load_contract("raw_events")
    slices = report.candidate.slices
    judged = {check.name.removeprefix("slice_") for check in facts.decision.checks}
    names = {name: f"{name} ({one.version})" if one.version else name for name, one in report.models.items()}
    replayed_since = plan.window.start - timedelta(hours=plan.replay_hours)
    return {
        "facts": facts,
        "plan": plan,
        "report": report,
        "targets": overall.targets,
        "leaves_out_seen": report.served == NEW_ITEM,
        "recall": overall.metrics["recall@20"],
        "rival_recall": report.served_scores(facts.rival).metrics["recall@20"].value,
        "coverage": overall.metrics["coverage@20"].value,
        "rival": facts.rival_evaluation,
        "level": LEVEL,
        "details": list(_details(facts)),
        "sessions": list(_sessions(facts)),
        "replayed_since": None if plan.warm_start_version is None else replayed_since,
        "names": names,
        "lengths": [f"k = {k}" for k in KS],
        "metrics": [
            (
                f"{metric}@20",
                *(metric_with_interval(report.served_scores(role), f"{metric}@20") for role in report.models),
            )
            for metric in METRICS
        ],
        "metrics_by_length": [
            (metric, *(metric_with_interval(overall, f"{metric}@{k}") for k in KS)) for metric in METRICS
        ],
        "differences": [
            (names[other], *(signed(by_metric[metric]) for metric in ("recall@20", "mrr@20")))
            for other, by_metric in overall.against.items()
        ],
        **_objectives(facts),
        "slices": list(_slices(facts, judged)),
        "slice_meanings": [(name, SLICES.get(name, "see the evaluation report")) for name in sorted(slices)],
        "weakest": _weakest(slices, overall),
        "unjudged": sorted(set(slices) - judged) if report.champion is not None else [],
        "contract": contract,
        "treatments": _treatments(contract),
        "state": STATE,
        **_privacy(facts),
        "address": Markdown(repr(f"models:/{plan.model_name}/{facts.version}")),
    }


def _details(facts: Facts) -> Iterator[tuple[str, str]]:
    """Name what the version is and how it was trained."""
    plan, measured = facts.plan, facts.measured
    work = ", ".join(text.counted(measured[f"train_{unit}s"], unit) for unit in ("epoch", "step", "second"))
    yield "Task", "rank all items of a shop as the next item of a session"
    yield "Architecture", plan.architecture
    yield "Training", kind_for(plan).describe(plan)
    yield "Trained", f"{utc(facts.trained_at)}, {work}"
    yield "Items known", f"{whole(measured['items'])}, of which {whole(measured['new_items'])} were new"
    if unseen := measured.get("unseen_items", 0.0):  # versions of before the catalogue do not have it
        left_out = whole(measured["unseen_items_left_out"])
        yield "Items without an event", f"{whole(unseen)} of the catalogue; {left_out} more are left out"
    yield "Training key", code(plan.run_key)
    yield "MLflow run", code(facts.report.run_id)
    yield "Code", Markdown(f"revision {code(facts.tags.get('lastaisle.git_revision', 'unknown'))}")
    yield "Gate", facts.verdict


def _sessions(facts: Facts) -> Iterator[tuple[str, str, str]]:
    """Count the sessions of training and evaluation: used, and left out with the reason."""
    plan, report, measured = facts.plan, facts.report, facts.measured
    yield "Sessions that", "ended in the window", "began in the hours after it"
    yield "From", utc(plan.window.start), utc(report.evaluated_from)
    yield "To", utc(plan.window.end), utc(report.evaluated_to)
    yield "Sessions used", whole(measured["train_sessions"]), whole(report.sessions)
    yield "Targets (next items)", whole(measured["train_targets"]), whole(report.targets)
    prefix = "left_out_"
    left_out = {name.removeprefix(prefix): n for name, n in measured.items() if name.startswith(prefix)}
    for reason in sorted({*left_out, *report.left_out}):
        judging = whole(report.left_out[reason]) if reason in report.left_out else "not recorded"
        yield f"Sessions left out {LEFT_OUT.get(reason, reason)}", whole(left_out.get(reason, 0)), judging


def _objectives(facts: Facts) -> dict[str, Any]:
    """Return the scores on each objective, where the evaluation had targets of more than one."""
    candidate, rival = facts.report.candidate.objectives, facts.rival_evaluation.objectives
    owners = ("", f"{facts.rival}'s ")
    header = ["objective", "targets", *(f"{owner}{metric}" for owner in owners for metric in COMPARED)]
    rows = [
        (
            name,
            whole(scores.targets),
            *(metric_with_interval(one, metric) for one in (scores, rival[name]) for metric in COMPARED),
        )
        for name, scores in candidate.items()
    ]
    return {"objectives_header": header, "objectives": rows if len(rows) > 1 else []}


def _slices(facts: Facts, judged: set[str]) -> Iterator[tuple[str, ...]]:
    """Compare candidate and rival on each slice."""
    rival = facts.rival
    for name, scores in sorted(facts.report.candidate.slices.items()):
        yield (
            name,
            whole(scores.targets),
            metric_with_interval(scores, "recall@20"),
            metric_with_interval(facts.rival_evaluation.slices[name], "recall@20"),
            signed(scores.against[rival]["recall@20"]),
            "yes" if name in judged else "no",
        )


def _weakest(slices: Mapping[str, Scores], overall: Scores) -> Weakest | None:
    """Return the slice with the lowest recall@20; None where no slice is below the mean."""
    mean = overall.metrics["recall@20"].value
    recalls = {name: scores.metrics["recall@20"].value for name, scores in slices.items()}
    name = min(recalls, key=recalls.__getitem__, default=None)
    if name is None or recalls[name] >= mean:
        return None
    return Weakest(name, slices[name].targets / overall.targets, slices[name])


def _privacy(facts: Facts) -> dict[str, Any]:
    """Return what the card says of a private training; a version that is not private has no numbers."""
    privacy = facts.privacy
    if not privacy.is_private or privacy.mechanism is None or privacy.epsilon is None:
        return {"mechanism": None, "plain_epsilon": ""}
    return {
        "mechanism": privacy.mechanism,
        "covers": COVERS[privacy.mechanism.unit],
        "plain_epsilon": in_plain_words(privacy.epsilon),
    }


def _treatments(contract: Contract) -> list[tuple[Markdown, str]]:
    """Return the fields of a contract by their treatment before training."""
    fields: dict[str, list[str]] = {}
    for field in contract.fields:
        fields.setdefault(field.treatment.action, []).append(code(field.name))
    return [
        (Markdown(", ".join(fields[action])), treatment)
        for action, treatment in TREATMENTS.items()
        if action in fields
    ]

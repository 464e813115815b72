"""The model card's sections on limits and privacy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from lastaisle.registry.registry import STATE
from lastaisle.release.card.facts import Facts, code_span, escape, hours_between, moment_of, percent, shown

if TYPE_CHECKING:
    from lastaisle.evaluation.report import Scores


def limits(facts: Facts) -> tuple[str, str]:
    """Write what the figures do not say, and what the model does not know."""
    return "Limits", "\n".join(f"- {line}" for line in _limit_lines(facts))


def _limit_lines(facts: Facts) -> Iterator[str]:
    report, plan = facts.report, facts.plan
    overall = report.candidate.overall
    recall = overall.metrics["recall@20"]
    yield (
        f"Measured on {report.sessions:,} sessions of one stretch of "
        f"{hours_between(report.evaluated_from, report.evaluated_to)}; other hours, weekdays and "
        "seasons may differ."
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
        f"Its lists of 20 showed {percent(overall.metrics['coverage@20'].value)} of these items; the others "
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
        f"Shops move on: it has learned up to {moment_of(plan.window.end)}, and gets worse with every day "
        "that it is not renewed."
    )


def _weakest(slices: Mapping[str, Scores], overall: Scores) -> Iterator[str]:
    """Name the slice with the lowest recall@20, where one is below the mean."""
    mean = overall.metrics["recall@20"].value
    below = {name: found for name, found in slices.items() if found.metrics["recall@20"].value < mean}
    if below:
        name, found = min(below.items(), key=lambda entry: entry[1].metrics["recall@20"].value)
        yield (
            f"Weakest on {escape(name)} ({found.targets / overall.targets:.0%} of the targets): recall@20 "
            f"{shown(found, 'recall@20')}, where all targets have {mean:.4f}."
        )


def privacy(facts: Facts) -> tuple[str, str]:
    """Write what was done to the shoppers' data, and what of them is in the model."""
    from data_contracts.contract import load_contract

    contract = load_contract("raw_events")
    treated: dict[str, list[str]] = {}
    for field in contract.fields:
        treated.setdefault(field.treatment.action, []).append(f"`{code_span(field.name)}`")
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

"""The model card's sections on how good a version is: metrics, and slices of them."""

from __future__ import annotations

from collections.abc import Iterator

from lastaisle.evaluation.measure import COLD_COUNT, COMPARED, KS, LEVEL, LONG_PREFIX
from lastaisle.release.card.facts import Facts, escape, shown, signed, table, with_interval

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


def metrics(facts: Facts) -> tuple[str, str]:
    """Write the metrics of all models, of the candidate at each k, and the differences."""
    models = facts.report.models
    names = {name: f"{name} ({model.version})" if model.version else name for name, model in models.items()}
    compared = [
        (f"{metric}@20", *(shown(model.overall, f"{metric}@20") for model in models.values()))
        for metric in METRICS
    ]
    overall = facts.report.candidate.overall
    by_length = [(metric, *(shown(overall, f"{metric}@{k}") for k in KS)) for metric in METRICS]
    differences = [
        (escape(names[other]), *(signed(found[metric]) for metric in ("recall@20", "mrr@20")))
        for other, found in overall.against.items()
    ]
    return "Metrics", "\n\n".join(
        [
            "Each next item of each evaluation session is ranked among all items. In brackets stands the "
            f"{LEVEL:.0%} bootstrap interval over sessions; coverage (the share of all items that any list "
            "shows) has none. With one target a prediction recall equals hit rate, and precision is that "
            "divided by k.",
            table(("", *map(escape, names.values())), compared),
            "![Candidate, champion and baselines with their intervals](../plots/comparison.png)",
            "The candidate at other lengths of the list:",
            table(("", *(f"k = {k}" for k in KS)), by_length),
            f"The candidate less each other model on the same targets, {facts.report.paired_level:.0%} "
            "intervals:",
            table(("against", "recall@20", "mrr@20"), differences),
            *_churn(facts),
            *_objectives(facts),
        ]
    )


def _churn(facts: Facts) -> Iterator[str]:
    """Write how much of the lists changes, where there was a champion."""
    if facts.report.churn is not None:
        yield (
            "Of the champion's lists of 20, on these targets, the share that this version changes "
            f"(churn@20) is {with_interval(facts.report.churn)}."
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
            *(shown(one, metric) for one in (scores, rival[name]) for metric in COMPARED),
        )
        for name, scores in candidate.items()
    )
    yield "By what the shopper does with the next item: sees it, puts it into the cart, buys it."
    yield table(header, rows)


def slices(facts: Facts) -> tuple[str, str]:
    """Write the slices' metrics, and what each slice is."""
    report, rival = facts.report, facts.rival
    judged = {check.name for check in facts.decision.checks}
    rows = []
    for name, scores in sorted(report.candidate.slices.items()):
        other = report.models[rival].slices[name]
        rows.append(
            (
                escape(name),
                f"{scores.targets:,}",
                shown(scores, "recall@20"),
                shown(other, "recall@20"),
                signed(scores.against[rival]["recall@20"]),
                "yes" if f"slice_{name}" in judged else "no",
            )
        )
    header = ("slice", "targets", "recall@20", f"{rival}'s recall@20", "difference", "judged by the gate")
    meanings = "\n".join(
        f"- {escape(name)}: {SLICES.get(name, 'see the evaluation report')}"
        for name in sorted(report.candidate.slices)
    )
    return "Slices", (
        f"{table(header, rows)}\n\n{meanings}\n\n"
        f"Intervals of differences are at {report.paired_level:.0%}.\n\n"
        "![recall@20 by slice](../plots/slices.png)"
    )

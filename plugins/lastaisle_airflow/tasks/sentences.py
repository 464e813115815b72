"""The results of tasks in one sentence each, from the dictionaries that tasks return and assets announce.

A sentence is the note of a run, so that it is short, begins with what happened, and has no full stop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

MOST_NAMED: Final = 3  # trials that a sentence names


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 day`, `2,000 days`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def of_rows(counts: Mapping[str, Any], noun: str = "row") -> str:
    """Tell what became of the rows of a run: `13,581 rows clean, 0 quarantined`."""
    rows = noun.replace("row", "row" if counts["rows_clean"] == 1 else "rows", 1)
    told = f"{counts['rows_clean']:,} {rows} clean, {counts['rows_quarantined']:,} quarantined"
    more = {"late": counts.get("rows_late", 0), "duplicate": counts.get("rows_duplicate", 0)}
    return ", ".join([told, *(f"{number:,} {name}" for name, number in more.items() if number)])


def of_ingestion(
    summary: Mapping[str, Any], left_out: int, failed: Mapping[str, str], gaps: Sequence[str]
) -> str:
    """Tell what became of the rows of a run, and what the run did not take in.

    Args:
        summary: the summary of the run; without counts if no source was taken in.
        left_out: the number of sources that were not taken in.
        failed: the error of each folder that cannot be listed.
        gaps: the messages that Kafka deleted before they were read.
    """
    rows = of_rows(summary["counts"]) if "counts" in summary else "no rows taken in"
    return "; ".join([rows, *_trouble(left_out, len(failed), len(gaps))])


def _trouble(sources: int, places: int, gaps: int) -> list[str]:
    """Tell how much a run did not take in."""
    trouble = {
        f"{counted(sources, 'source')} not taken in": sources,
        f"{counted(places, 'place')} not readable": places,
        f"{counted(gaps, 'gap')} in Kafka": gaps,
    }
    return [told for told, number in trouble.items() if number]


def of_exposures(
    chains: Sequence[Any],
    reports: Sequence[Mapping[str, Any]],
    failed: Mapping[str, str],
    gaps: Sequence[str],
) -> str:
    """Tell what became of the rows of exposures, and what the run did not take in."""
    counts = [report["counts"] for report in reports]
    names = ("rows_clean", "rows_quarantined", "rows_late", "rows_duplicate")
    added = {name: sum(each[name] for each in counts) for name in names}
    left_out = dict(failed).keys() | {file for report in reports for file in report["failed"]}
    told = [
        of_rows(added, "row of exposures"),
        *_trouble(len(chains) - len(reports), len(left_out), len(gaps)),
    ]
    return "; ".join(told)


def of_missing_logs(key: str) -> str:
    """Tell that a partition has no logs."""
    return f"no logs for {key}"


def of_catalogue(report: Mapping[str, Any]) -> str:
    """Tell what a run did with the catalogue."""
    changed, removed = report["rows_clean"], report["items_removed"]
    told = (
        f"{counted(changed, 'item')} changed, {removed:,} removed, {report['rows_quarantined']:,} quarantined"
    )
    return f"{told}; {counted(len(report['failed']), 'file')} left out" if report["failed"] else told


def of_plan(planned: Mapping[str, Any]) -> str:
    """Tell what a training learns, and which hours judge it."""
    window, version = planned["window"], planned["warm_start_version"]
    start = "from scratch" if version is None else f"from v{version}"
    learned = f"learns {window['start'][:16]} to {window['end'][:16]} {start}"
    return f"{planned['architecture']} {learned}, the hours up to {planned['holdout_end'][:16]} judge"


def of_release(move: Mapping[str, Any]) -> str:
    """Tell the gate's decision: `v7 promoted, recall@20 0.669 against 0.636`.

    Args:
        move: the keys version, promoted, step (the alias that the version got: champion, canary or shadow;
            empty if another version took its place since), metric, value, champion_value (None without a
            champion), rule (the first broken rule) and reasons.
    """
    scores = f"{move['metric']} {move['value']:.3f}"
    if move["champion_value"] is not None:
        scores += f" against {move['champion_value']:.3f}"
    if not move["promoted"]:
        if move["rule"] == "not_worse_than_champion":
            return f"v{move['version']} refused: {scores}"
        first = str(next(iter(move["reasons"]), move["rule"])).partition(". ")[0]
        return f"v{move['version']} refused, {scores}: {first}"
    if move["step"] == "champion":
        first_champion = "" if move["champion_value"] is not None else " as the first champion"
        return f"v{move['version']} promoted{first_champion}, {scores}"
    if move["step"]:
        return f"v{move['version']} passed the gate and is {move['step']}, {scores}"
    return f"v{move['version']} passed the gate, {scores}, but another version serves since"


def of_rollback(report: Mapping[str, Any]) -> str:
    """Tell where a rollback led, or would lead."""
    before, after = report["from_version"], report["to_version"]
    if before == after:
        return f"v{after} is champion already: nothing moved"
    path = f"v{after}" if before is None else f"v{before} to v{after}"
    if report["dry_run"]:
        return f"dry run: {path} would be the move, nothing moved"
    if not report["moved"]:
        return f"nothing moved, v{after} was champion already"
    return f"rolled back: {path}: {report['reason']}"


def of_watch(report: Mapping[str, Any]) -> str:
    """Tell what the guardrails found, and where shadow and canary stand."""
    serves = f"v{report['version']} serves"
    steps = [f"{one['step']} v{one['version']} {_STEPS[one['outcome']]}" for one in report["steps"]]
    if report["rolled_back"]:
        return "; ".join([f"rolled back, {serves}: {report['rolled_back']}", *steps])
    if report["unjudged"]:
        judged = f"not judged: {report['unjudged']}".rstrip(".")
    else:
        broken = [row["rule"] for row in report["guardrails"] if row["verdict"] == "broken"]
        held = f", but held back: {report['held_back']}".rstrip(".") if report["held_back"] else ""
        judged = f"broken: {', '.join(broken)}{held}" if broken else _held(report["guardrails"])
    return "; ".join([f"{serves}, {judged}" if report["version"] else judged, *steps])


_STEPS: Final = {"wait": "waits for figures", "go_on": "takes its next step", "retire": "retired"}


def _held(rows: Sequence[Mapping[str, Any]]) -> str:
    open_rules = sum(row["verdict"] == "open" for row in rows)
    kept = f"{counted(len(rows) - open_rules, 'guardrail')} kept"
    return f"{kept}, {open_rules:,} without enough figures" if open_rules else kept


def of_drift(report: Mapping[str, Any]) -> str:
    """Tell what drifted: `3 of 41 comparisons drifted: prices of category shoes rose by 31 %: PSI 0.34`."""
    if not report["alarmed"]:
        return f"nothing drifted in {counted(report['compared'], 'comparison')} of {report['day']}"
    told = f"{report['alarmed']:,} of {counted(report['compared'], 'comparison')} of {report['day']} drifted"
    return f"{told}: {report['first']}" if report.get("first") else told


def of_outcomes(report: Mapping[str, Any]) -> str:
    """Tell what followed the exposures of the days that were attributed."""
    told = [counted(report["exposures"], "exposure"), counted(report["clicks"], "click")]
    told += [counted(report["adds"], "addition") + " to the cart", counted(report["orders"], "order")]
    return f"{', '.join(told)} on {counted(len(report['days']), 'day')}"


def of_metrics(report: Mapping[str, Any]) -> str:
    """Tell which figures changed."""
    return f"figures of {counted(len(report['changed_days']), 'day')} changed"


def of_abandonment(burst: Mapping[str, Any]) -> str:
    """Tell how many checkouts were abandoned, and why they count as abandoned."""
    reasons = ", ".join(f"{name} {count:,}" for name, count in burst["reasons"].items())
    return f"{counted(burst['sessions'], 'checkout')} abandoned ({reasons})"


def of_online(report: Mapping[str, Any]) -> str:
    """Tell what an online update learned."""
    if not report["sessions"]:
        return f"v{report['champion']} serves as it is: no session ended since its training"
    moved = f"{counted(report['items_moved'], 'item')} moved, {report['new_items']:,} of them new"
    return f"v{report['champion']} learned {counted(report['sessions'], 'session')} online, {moved}"


def of_bandits(reports: Sequence[Mapping[str, Any]]) -> str:
    """Tell how each bandit stands."""
    return named(
        f"{one['name']}: {one['problem']}"
        if one["problem"]
        else f"{one['name']}: {one['share']:.0%} of lists by its policy, "
        + (f"learned from {counted(one['lists'], 'list')}" if one["changed"] else "nothing new")
        for one in reports
    )


def of_definitions(report: Mapping[str, Any]) -> str:
    """Tell which experiments and bandits began, changed or stopped; empty if none did."""
    told = [
        f"{one['name']} {one['outcome']}" for one in report["applied"] if one["outcome"] not in _UNCHANGED
    ]
    told += [f"{one['name'] or one['file']} refused" for one in report["refused"]]
    return named(told)


_UNCHANGED: Final = ("as before", "over")


def of_experiments(found: Sequence[Mapping[str, Any]]) -> str:
    """Tell how each experiment stands, or its verdict."""
    return named(
        f"{one['name']}: {one['problem']}"
        if one["problem"]
        else f"{one['name']} {one['state']}: {str(one['reason']).partition('. ')[0].rstrip('.')}"
        for one in found
    )


def of_maintenance(reports: Sequence[Mapping[str, Any]]) -> str:
    """Tell what the maintenance of tables changed; after a dry run, what it would change."""
    sums = {
        name: sum(one[name] for one in reports)
        for name in ("rows_deleted", "partitions_compacted", "files_deleted")
    }
    told = [
        counted(len(reports), "table"),
        counted(sums["rows_deleted"], "expired row") + " deleted",
        counted(sums["partitions_compacted"], "partition") + " compacted",
        counted(sums["files_deleted"], "old file") + " deleted",
    ]
    return _after(", ".join(told), dry_run=any(one["dry_run"] for one in reports))


def of_audit(report: Mapping[str, Any]) -> str:
    """Tell what failed in an audit of privacy, and how much is not known."""
    failed = [
        f"{one['name']}: {one['told'].rstrip('.')}" for one in report["findings"] if one["state"] == "failed"
    ]
    days = f"{report['first_day']} to {report['last_day']}"
    unknown = f"{report['not_known']:,} not known"
    return f"{days}: {counted(len(failed), 'finding')} failed, {unknown}" + (
        f": {named(failed)}" if failed else ""
    )


def of_pruning(report: Mapping[str, Any]) -> str:
    """Tell how many model versions were deleted."""
    told = f"{counted(len(report['pruned']), 'model version')} deleted, {len(report['kept']):,} kept"
    return _after(told, dry_run=report["dry_run"])


def _after(told: str, *, dry_run: bool) -> str:
    return f"dry run, nothing changed: {told}" if dry_run else told


def named(told: Iterable[str]) -> str:
    """Join what is told of several trials; of many, the first ones and the number of the others."""
    every = list(told)
    more = [f"and {len(every) - MOST_NAMED:,} more"] if len(every) > MOST_NAMED else []
    return "; ".join([*every[:MOST_NAMED], *more])


def of_requests(reports: Sequence[Mapping[str, Any]]) -> str:
    """Tell what became of the requests of shoppers, without any id of theirs."""
    done = [report for report in reports if report["state"] == "done"]
    if not done:
        rows = sum(report["counts"].get("rows", 0) for report in reports if report["kind"] == "erase")
        return f"dry run: {counted(len(reports), 'request')} of shoppers, {counted(rows, 'row')} to erase"
    erased = [report["counts"] for report in done if report["kind"] == "erase"]
    told = [f"{counted(len(done), 'request')} of shoppers done"]
    if erased:
        rows, found = (sum(counts[name] for counts in erased) for name in ("rows", "found"))
        told.append(f"{counted(rows, 'row')} erased, {found:,} found afterwards")
        if not all(counts["proven"] for counts in erased):
            told.append("places were not searched: see the receipts")
    return ", ".join(told)

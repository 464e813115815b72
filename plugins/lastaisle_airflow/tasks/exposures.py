"""The tasks of `ingest_sessions` that take in exposures: what shoppers saw, and what they did with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import TriggerRule, get_current_context, task

from lastaisle.errors import SourceError
from lastaisle.settings import Settings
from lastaisle_airflow.runtime.assets import EXPOSURES
from lastaisle_airflow.runtime.notes import note, skipped
from lastaisle_airflow.runtime.pods import with_pseudonym_key
from lastaisle_airflow.tasks import sentences
from lastaisle_airflow.tasks.exposure_chains import chain_name, ingest_chain, plan_all
from lastaisle_airflow.tasks.flows import tell_exposures

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)
_SHOWN = 100  # the most files that the report of a run names


@task
def plan_exposures(*, ti: Any = None) -> list[dict[str, Any]]:
    """Return the chains of files, or of ranges of offsets, with exposures that no run has taken in yet.

    The XCom `left_out` holds why sources and folders cannot be listed, `gaps` the messages that Kafka deleted
    unread, `passed_over` the number of files that were passed over, by reason.

    Raises:
        AirflowSkipException: no exposures wait.
        SourceError: the place of the exposures cannot be reached.
    """
    plan = plan_all(Settings.from_env())
    ti.xcom_push(key="left_out", value=plan.failed)
    ti.xcom_push(key="gaps", value=plan.gaps)
    ti.xcom_push(key="passed_over", value=plan.passed_over)
    if plan.chains:
        return plan.chains
    if plan.failed or plan.gaps:
        raise SourceError(describe_trouble(plan.failed, plan.gaps))
    growing = f"; {plan.waiting} files were changed just now, and are left for the next run"
    raise skipped(f"no exposures wait{growing if plan.waiting else ''}")


@task(map_index_template="{{ source_name }}", executor_config=with_pseudonym_key())
def ingest_exposures(chain: dict[str, Any]) -> dict[str, Any]:
    """Bring the exposures of one chain into the lake; return the counts, and the files that were left out."""
    get_current_context()["source_name"] = chain_name(chain)  # type: ignore[typeddict-unknown-key]
    report = ingest_chain(chain)
    tell_exposures(chain)
    return {**report, "failed": dict(list(report["failed"].items())[:_SHOWN])}


@task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS, outlets=[EXPOSURES])
def announce_exposures(reports: Any, *, outlet_events: Any = None) -> None:
    """Announce the asset `exposures` with the counts of the run; skip if no row came in."""
    outlet_events[EXPOSURES].extra = require_rows(listed(reports))


@task(trigger_rule=TriggerRule.NONE_SKIPPED, retries=0)
def check_exposures(chains: Any, reports: Any, *, ti: Any = None) -> None:
    """Log the run's exposures; fail if a file was not taken in, or if messages were lost in Kafka."""
    if chains is None:
        raise SourceError("nothing could be planned; the log of plan_exposures says why")
    keys = ("left_out", "gaps", "passed_over")
    left_out, gaps, passed_over = (ti.xcom_pull(task_ids="plan_exposures", key=key) for key in keys)
    log.info("%s", "\n  ".join(describe_exposures(chains, listed(reports), passed_over or {})))
    note(sentences.of_exposures(chains, listed(reports), left_out or {}, gaps or []))
    refuse_missing(chains, listed(reports), left_out or {}, gaps or [])


def listed(reports: Any) -> list[Mapping[str, Any]]:
    """Return the reports of a run's chains; with a single chain, Airflow passes its report itself."""
    every = [reports] if isinstance(reports, Mapping) else reports or []
    return [report for report in every if report]


def require_rows(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the extra of the announcement.

    Rows that were stored before count, too: a try that was killed may have stored them.

    Raises:
        AirflowSkipException: no row came in.
    """
    from lastaisle.ingest.report import ROW_COUNTS
    from lastaisle.ingest.summary import add_up

    counts = add_up(report["counts"] for report in reports)
    if not counts["rows_in"]:
        raise skipped("no exposures came in")
    summed = {name: sum(report[name] for report in reports) for name in ("shown", "files")}
    words = {"words": sentences.of_rows(counts, "row of exposures")}
    return {name: counts[name] for name in ROW_COUNTS} | summed | words


def describe_exposures(
    chains: Sequence[Any], reports: Sequence[Mapping[str, Any]], passed_over: Mapping[str, int]
) -> list[str]:
    """Describe the exposures of a run in lines."""
    from lastaisle.ingest.summary import add_up, describe_rows, name_most

    return [
        f"{len(reports)} of {len(chains)} chains of exposures were taken in:",
        *describe_rows(add_up(report["counts"] for report in reports)),
        f"shown        {sum(report['shown'] for report in reports):,}",
        *([f"passed over  {name_most(passed_over)}"] if passed_over else []),
    ]


def refuse_missing(
    chains: Sequence[Any],
    reports: Sequence[Mapping[str, Any]],
    left_out: Mapping[str, str],
    gaps: Sequence[str],
) -> None:
    """Fail if exposures were not taken in; the message names each file, source or gap.

    Raises:
        SourceError: a chain failed, a file or a folder was left out, or Kafka deleted messages unread.
    """
    failed = len(chains) - len(reports)
    for report in reports:
        left_out = {**left_out, **report["failed"]}
    trouble = describe_trouble(left_out, gaps)
    if failed:
        trouble = (
            f"{failed} of {len(chains)} chains were not taken in; the failed tasks ingest_exposures of this "
            f"run say why. The next run takes them in, once this is mended. {trouble}".rstrip()
        )
    if trouble:
        raise SourceError(trouble)


def describe_trouble(left_out: Mapping[str, str], gaps: Sequence[str]) -> str:
    """Describe what was left out, and what was lost; empty if all was taken in."""
    errors = "; ".join(f"{address}: {error}" for address, error in left_out.items())
    return ". ".join(
        [
            *([f"left out of the exposures: {errors}"] if left_out else []),
            *([f"lost upstream, see the table gaps: {'; '.join(gaps)}"] if gaps else []),
        ]
    )

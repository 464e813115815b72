"""The tasks of `erase_subjects`. They pass on ids of requests, never ids of shoppers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.kafka import kafka_connection
from lastaisle_airflow.runtime.notes import note, skipped
from lastaisle_airflow.runtime.pods import with_requests
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks import sentences
from lastaisle_airflow.tasks.release import actor_of

if TYPE_CHECKING:
    from lastaisle.rights.work import Desk

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)


@task(executor_config=with_requests())
def list_requests(*, params: Any = None) -> list[str]:
    """Return the ids of the requests that this run does; mend requests that were killed.

    Raises:
        AirflowSkipException: no request waits.
        AirflowFailException: there is no request with this id.
    """
    from lastaisle.rights.inbox import RequestError
    from lastaisle.rights.requests import find_request, read_requests, repair

    desk = _desk()
    for sentence in repair(desk.lake, desk.inbox, desk.settings.privacy.request_days):
        log.info("%s", sentence)
    if params["request_id"]:
        try:
            return [find_request(desk.lake, params["request_id"]).request_id]
        except RequestError as unknown:
            raise AirflowFailException(str(unknown)) from unknown
    waiting = [request.request_id for request in read_requests(desk.lake) if request.is_open]
    if not waiting:
        raise skipped("no request of a shopper waits")
    return waiting


@task(map_index_template="{{ request_id }}", executor_config=with_requests(pseudonym_key=True))
def do_request(name: str, *, params: Any = None, dag_run: Any = None) -> dict[str, Any]:
    """Do one request, or only count what an erasure would erase; return what was done, without any id."""
    from lastaisle.rights.requests import find_request
    from lastaisle.rights.work import preview, work

    get_current_context()["request_id"] = name  # type: ignore[typeddict-unknown-key]
    desk = _desk()
    kind = find_request(desk.lake, name).first.kind
    if params["dry_run"]:
        counts = preview(desk, desk.inbox.read(name)).to_dict() if kind == "erase" else {}
        return {"request_id": name, "kind": kind, "state": "dry run", "counts": counts}
    actor = actor_of(dag_run)
    done = work(desk, name, actor=actor, reason=f"request {name} of a shopper", progress=_log_progress)
    return {"request_id": name, "kind": kind, "state": done.last.state, "counts": dict(done.last.counts)}


@task(trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS)
def sum_up(reports: Any) -> list[str]:
    """Tell what the run did; return the model versions that learned from erased shoppers."""
    from lastaisle.rights.models import TOUCHED

    listed = [reports] if isinstance(reports, Mapping) else [report for report in reports or [] if report]
    note(sentences.of_requests(listed))
    return sorted(
        {
            version["version"]
            for report in listed
            if report["state"] == "done"
            for version in report["counts"].get("versions", ())
            if version["decided"] == TOUCHED and version["version"]
        },
        key=int,
    )


@task
def decide_on_training(versions: list[str]) -> str:
    """Return why a full training starts; skip if no model version learned from an erased shopper.

    Raises:
        AirflowSkipException: no version did, or LASTAISLE_ERASED_MODELS is retire.
    """
    return require_training(versions, Settings.from_env().privacy.erased_models)


def require_training(versions: list[str], policy: str) -> str:
    """Return why a full training starts.

    Raises:
        AirflowSkipException: no version learned from an erased shopper, or the policy is retire.
    """
    if not versions:
        raise skipped("no model version learned from an erased shopper")
    if policy != "retrain":
        raise skipped("LASTAISLE_ERASED_MODELS is retire, so nothing is trained again")
    named = ", ".join(f"v{version}" for version in versions)
    return f"{named} learned from shoppers who were erased, so a full training without them starts"


# Also when no request came: a training that an earlier run started may have ended meanwhile.
@task(trigger_rule=TriggerRule.ALL_DONE)
def retire_versions(*, params: Any = None, dag_run: Any = None) -> dict[str, Any]:
    """Let no version that learned from an erased shopper serve, if another version can."""
    from lastaisle.registry.registry import Registry
    from lastaisle.rights.models import retire_touched

    settings = Settings.from_env()
    lake = open_lake(settings)
    told = retire_touched(
        lake,
        Registry(settings),
        policy=settings.privacy.erased_models,
        actor=actor_of(dag_run),
        dry_run=params["dry_run"],
    )
    if not told.touched:
        raise skipped("no model version learned from an erased shopper")
    note(told.words, warn=told.still_serves)
    return told.to_dict()


def _desk() -> Desk:
    from lastaisle.registry.registry import Registry
    from lastaisle.rights.work import Desk

    settings = Settings.from_env()
    return Desk.of(settings, open_lake(settings), lambda: Registry(settings), kafka_connection)


def _log_progress(share: float, step: str) -> None:
    log.info("%3.0f %%: %s", 100 * share, step)

"""The tasks that ask people about a risky release. They exist only where LASTAISLE_APPROVAL is not off."""

from __future__ import annotations

import dataclasses
import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowFailException

from lastaisle.settings import Settings
from lastaisle_airflow.runtime.operators import AskPeople
from lastaisle_airflow.runtime.stores import open_lake
from lastaisle_airflow.tasks.release import release_candidate

# Tasks import the pipeline inside their functions: nothing heavy may be loaded before a worker forks.

log = logging.getLogger(__name__)


def time_to_answer() -> timedelta:
    """Return how much longer a run may take because people are asked."""
    gate = Settings.from_env().gate
    return timedelta(0) if gate.approval == "off" else timedelta(hours=gate.approval_hours)


def release_with_approval(trained: Any) -> Any:
    """Release the candidate of a run; between evaluation and release, people are asked if need be."""
    if Settings.from_env().gate.approval == "off":
        return release_candidate(trained)
    assessed: Any = assess_risks(trained)
    ask = AskPeople(task_id="ask_people", assessed_by="assess_risks", response_timeout=time_to_answer())
    assessed >> ask
    answer: Any = ask.output
    return release_candidate(trained, assessed, answer)


@task
def assess_risks(trained: str) -> dict[str, Any]:
    """Tell whether people are asked about the candidate, with the decision table that they read.

    Raises:
        AirflowFailException: the champion has learned the hours that would judge; a retry would not help.
    """
    from lastaisle.evaluation.evaluate import evaluate_candidate
    from lastaisle.evaluation.judging import LearnedHoursError
    from lastaisle.registry.registry import Registry
    from lastaisle.release.risk import assess

    settings = Settings.from_env()
    lake, registry = open_lake(settings), Registry(settings)
    try:
        # This reads the stored report. If the champion has moved since, it compares with the new champion.
        evaluate_candidate(trained, lake, registry)
        assessment = assess(trained, lake, registry, settings)
    except LearnedHoursError as overtaken:
        raise AirflowFailException(str(overtaken)) from overtaken
    log.info("People are %sasked.\n%s", "" if assessment.ask else "not ", assessment.body)
    return dataclasses.asdict(assessment)

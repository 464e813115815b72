"""The sentences that tasks leave about their results; `note_of_run` makes the note of the run from them.

A task cannot write the note of its run: Airflow 3.3.2 lets it give a note only to a run that it triggers. So
a task stores its sentence beside its result, as XCom, and the scheduler writes the note when the run ends.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from airflow.sdk import get_current_context
from airflow.sdk.exceptions import AirflowSkipException

from lastaisle.telemetry.shown import one_line, without_password
from lastaisle_airflow.runtime.links import trained_page

log = logging.getLogger(__name__)

#: The XCom keys: what a task has done, why it was skipped, and why it failed.
RESULT: Final = "note"
SKIPPED: Final = "note_of_skip"
FAILED: Final = "note_of_failure"
LONGEST: Final = 300
"""A sentence is cut to this number of characters; Airflow's database keeps 1,000 for the note of a run."""


def note(sentence: str, *, link: str = "", warn: bool = False) -> None:
    """Log the result of the running task in a sentence, and store the sentence for the note of the run.

    The last sentence of a task counts. Outside of a task, the sentence is only logged.

    Args:
        sentence: the result, without a full stop.
        link: the page of MLflow to which the note links.
        warn: whether the result is logged as a warning.
    """
    log.log(logging.WARNING if warn else logging.INFO, "%s", sentence)
    with suppress(RuntimeError):  # no task runs
        _store(get_current_context()["ti"], RESULT, sentence, link)


def skipped(reason: str) -> AirflowSkipException:
    """Store why the running task is skipped, and return the exception to raise.

    The note of a run names the reason if no task of the run has a result.
    """
    with suppress(RuntimeError):  # no task runs
        _store(get_current_context()["ti"], SKIPPED, reason)
    return AirflowSkipException(reason)


def note_failure(context: Mapping[str, Any]) -> None:
    """Store why a task failed for good; Airflow calls this after the task's last try."""
    task_instance = context["ti"]
    error = context.get("exception")
    _store(task_instance, FAILED, str(error) or type(error).__name__, trained_page(task_instance))


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return a text in one line, without passwords of addresses, cut to a number of characters."""
    text = without_password(one_line(" ".join(text.split()))).rstrip(".")
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def _store(task_instance: Any, key: str, sentence: str, link: str = "") -> None:
    task_instance.xcom_push(key=key, value={"sentence": shortened(sentence), "link": link})

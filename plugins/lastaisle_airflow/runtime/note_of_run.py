"""Write the note of a run when the run ends, from the sentences of its tasks (see `notes`).

Airflow calls the hooks in its scheduler, with the run and the session in which it ends the run: the note is
stored together with the end. So the note needs no login, and any executor may run the tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from airflow.listeners import hookimpl

from lastaisle_airflow.runtime.notes import FAILED, RESULT, SKIPPED, shortened

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from sqlalchemy.orm import Session

AUTHOR: Final = "lastaisle"
"""Airflow keeps the author of a note beside it: if people have written the note since, it is theirs."""
TAG: Final = "lastaisle"
LONGEST: Final = 1000  # the characters that Airflow's database keeps


@dataclass(frozen=True)
class TaskNote:
    """The sentence of a task.

    Attributes:
        task: id of the task.
        key: RESULT, SKIPPED or FAILED.
        sentence: the sentence, without a full stop.
        link: the page of MLflow's run; empty if there is none.
    """

    task: str
    key: str
    sentence: str
    link: str = ""


def outcome_of(notes: Sequence[TaskNote], *, failed: bool, cause: str = "") -> str:
    """Return the outcome of a run in one sentence; empty if no task told anything.

    Results come first. The first failure follows, unless its task has told of it in its result; later
    failures follow from the first. The reasons of skipped tasks stand only if there is nothing else.

    Args:
        notes: the sentences of the tasks, oldest first.
        failed: whether the run failed.
        cause: why the run failed, where no task did.
    """
    results = [note for note in notes if note.key == RESULT]
    told = [note.sentence for note in results]
    first = next((note for note in notes if note.key == FAILED), None)
    if failed and first is None:
        told.append(cause or "failed: the log of the failed task says why")
    elif failed and first is not None and first.task not in {note.task for note in results}:
        told.append(f"{first.task} failed: {first.sentence}")
    told = told or [note.sentence for note in notes if note.key == SKIPPED]
    sentence = shortened("; ".join(dict.fromkeys(told)), LONGEST // 2)
    links = [note.link for note in notes if note.link]
    return f"{sentence} ([MLflow run]({links[-1]}))" if sentence and links else sentence


def note_with(outcome: str, before: str | None, *, ours: bool) -> str:
    """Return the note of a run: the outcome, and below it the note that the run had from its trigger.

    Args:
        outcome: the outcome of the run in one sentence.
        before: the present note.
        ours: whether the present note begins with the outcome of a former end of the same run.
    """
    kept = before or ""
    if ours:
        kept = kept.partition("\n\n")[2]
    return f"{outcome}\n\n{kept}".strip()[:LONGEST]


@hookimpl
def on_dag_run_success(dag_run: DagRun, msg: str) -> None:
    """Note the outcome of a run that succeeded."""
    _write(dag_run, failed=False)


@hookimpl
def on_dag_run_failed(dag_run: DagRun, msg: str) -> None:
    """Note the outcome of a run that failed."""
    _write(dag_run, failed=True, cause="stopped by its time limit" if msg == "timed_out" else "")


def _write(dag_run: DagRun, *, failed: bool, cause: str = "") -> None:
    # Inside the function: workers load this plugin, too, and have no use for the models.
    from airflow.models.dagrun import DagRunNote
    from sqlalchemy import inspect

    session: Session | None = inspect(dag_run).session
    if session is None or not _is_ours(session, dag_run.dag_id):
        return
    outcome = outcome_of(_notes_of(session, dag_run.id), failed=failed, cause=cause)
    if not outcome:
        return
    stored = session.get(DagRunNote, dag_run.id)
    if stored is None:
        stored = DagRunNote("")  # type: ignore[no-untyped-call]
        stored.dag_run_id = dag_run.id
        session.add(stored)
    stored.content = note_with(outcome, stored.content, ours=stored.user_id == AUTHOR)
    stored.user_id = AUTHOR


def _is_ours(session: Session, dag_id: str) -> bool:
    """Return whether a DAG is one of Lastaisle's: an Airflow may run DAGs of other projects, too."""
    from airflow.models.dag import DagTag
    from sqlalchemy import select

    return (
        session.scalar(select(DagTag.dag_id).where(DagTag.dag_id == dag_id, DagTag.name == TAG)) is not None
    )


def _notes_of(session: Session, run: int) -> list[TaskNote]:
    """Return the sentences of a run's tasks, oldest first; what is no sentence of ours is passed over."""
    from airflow.models.xcom import XComModel
    from sqlalchemy import select

    columns = XComModel.task_id, XComModel.key, XComModel.value
    query = select(*columns).where(XComModel.dag_run_id == run, XComModel.key.in_((RESULT, SKIPPED, FAILED)))
    notes = []
    for row in session.execute(query.order_by(XComModel.timestamp)):
        value = XComModel.deserialize_value(row)
        if isinstance(value, dict) and isinstance(value.get("sentence"), str):
            notes.append(TaskNote(row.task_id, row.key, value["sentence"], str(value.get("link", ""))))
    return notes

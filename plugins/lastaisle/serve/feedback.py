"""Turn feedback into durable rows: one line of JSON for each item, named as in the contract of exposures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from lastaisle.collect.calls import Call
from lastaisle.collect.sink import Sink
from lastaisle.feedback.origin import ListOrigin, origin_of, row_id
from lastaisle.serve.consents.honour import Honour
from lastaisle.serve.feedback_body import Feedback
from lastaisle.serve.metrics import Metrics
from lastaisle.serve.pseudonyms import Pseudonyms
from lastaisle.serve.questions import SESSIONS, USERS, wrong
from lastaisle.web.refusal import RefusedError

if TYPE_CHECKING:
    from lastaisle.serve.trials.trials import Trials

MAX_ROWS: Final = 10_000
"""The most items in a request."""
CONTENT: Final = "feedback"
"""The first word of the names of the files with feedback."""


class FeedbackStore:
    """Keeps feedback.

    Args:
        sink: an open sink.
        pseudonyms: make the pseudonyms of sessions and shoppers.
        metrics: where items of feedback are counted.
        trials: the bandits, which learn from feedback; None if the service takes part in no trial.
        honour: what shoppers decided.
    """

    def __init__(
        self,
        sink: Sink,
        pseudonyms: Pseudonyms,
        metrics: Metrics,
        trials: Trials | None = None,
        honour: Honour | None = None,
    ) -> None:
        self._honour = honour or Honour(None, ())
        self._sink = sink
        self._pseudonyms = pseudonyms
        self._metrics = metrics
        self._trials = trials

    async def store(self, given: Sequence[Feedback], headers: Iterable[tuple[bytes, bytes]] = ()) -> int:
        """Return the number of stored rows when they are durable.

        Feedback without consent, or on a list that was made without consent, is only counted.

        Args:
            given: the feedback.
            headers: the head of the request.

        Raises:
            RefusedError: 413 or 422, nothing was stored; 503, the rows are not durable, and some of them may
                have been stored.
        """
        if (items := sum(len(feedback.items) for feedback in given)) > MAX_ROWS:
            raise RefusedError(
                413, "too_large", f"send at most {MAX_ROWS:,} items a request, received {items:,}"
            )
        received = datetime.now(UTC)
        forgets = self._honour.refuses_all(headers)
        lines = [self._lines(feedback, received, forgets=forgets) for feedback in given]
        calls = [call for lines_of_one in lines for call in lines_of_one]
        if calls:
            await self._sink.append(calls)
        for feedback, lines_of_one in zip(given, lines, strict=True):
            self._metrics.feedback(feedback.kind, len(feedback.items), stored=bool(lines_of_one))
            if lines_of_one and self._trials is not None:
                self._trials.note(feedback.kind, feedback.recommendation_id)
        return len(calls)

    def _lines(self, feedback: Feedback, received: datetime, *, forgets: bool) -> list[Call]:
        """Return a line for each item; none without consent."""
        origin = origin_of(feedback.recommendation_id)
        version, policy = _maker_of(feedback, origin)
        experiment, arm = _trial_of(feedback, origin)
        if forgets or not feedback.consent or (origin is not None and not origin.consent):
            return []
        held = self._pseudonyms.held()
        user, session = feedback.pseudonym, feedback.session_pseudonym
        if feedback.user_id is not None:
            user = held.of(USERS, feedback.user_id)
        if feedback.session_id is not None:
            session = held.of(SESSIONS, feedback.session_id)
        if self._honour.forgets(user, session):
            return []
        is_ours = feedback.user_id is not None or feedback.session_id is not None
        shared = {
            "kind": feedback.kind,
            "occurred_at": _text(feedback.at or received),
            "received_at": _text(received),
            "user_id": user,
            "session_id": session,
            "placement": feedback.placement,
            "recommendation_id": feedback.recommendation_id,
            "model_version": version,
            "policy": policy,
            "experiment": experiment,
            "arm": arm,
            # Only a sender knows which key made the pseudonyms that it sends.
            "key_version": held.key.version if is_ours and held.key is not None else None,
        }
        known = origin.propensity if origin else None
        propensities: Sequence[float | None] = feedback.propensities or [known] * len(feedback.items)
        key = (session or user or feedback.recommendation_id).encode()
        return [
            Call(key, orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            for row in _rows(feedback, shared, propensities)
        ]


def _maker_of(feedback: Feedback, origin: ListOrigin | None) -> tuple[str, str]:
    """Return the version and the policy that made a list.

    Raises:
        RefusedError: 422, they are missing, or the feedback contradicts the id of the list.
    """
    version = origin.version if origin else feedback.version
    policy = origin.policy if origin else feedback.policy
    if version is None or policy is None:
        raise wrong(
            "recommendation_id is not one of this service: give the version and the policy that made the list"
        )
    if (feedback.version or version, feedback.policy or policy) != (version, policy):
        raise wrong(
            f"recommendation_id names version {version!r} and policy {policy!r}; version or policy says "
            "something else"
        )
    if origin and feedback.propensities is not None:
        raise wrong(
            "recommendation_id names a list of this service, which knows its propensities: give propensities "
            "for other lists only"
        )
    return version, policy


def _trial_of(feedback: Feedback, origin: ListOrigin | None) -> tuple[str | None, str | None]:
    """Return the experiment and the arm of a list.

    Raises:
        RefusedError: 422, the feedback contradicts the id of the list.
    """
    if origin is None or origin.label is None:
        return feedback.experiment, feedback.arm
    known = origin.label.experiment, origin.label.arm
    if feedback.experiment is not None and (feedback.experiment, feedback.arm) != known:
        raise wrong(
            f"recommendation_id names experiment {known[0]!r} and arm {known[1]!r}; experiment or arm says "
            "something else. Leave both out; a shop that compares lists itself asks for them with `policy`"
        )
    return known


def _rows(
    feedback: Feedback, shared: dict[str, Any], propensities: Sequence[float | None]
) -> list[dict[str, Any]]:
    items = [str(item) for item in feedback.items]
    positions: Sequence[int | None] = feedback.positions or (
        range(1, len(items) + 1) if feedback.kind == "shown" else [None] * len(items)
    )
    return [
        {
            "exposure_id": _row_id(feedback, item, position),
            "item_id": item,
            "position": position,
            "propensity": propensity,
            **shared,
        }
        for item, position, propensity in zip(items, positions, propensities, strict=True)
    ]


def _row_id(feedback: Feedback, item: str, position: int | None) -> str:
    at = _text(feedback.at) if feedback.at else ""
    return row_id(feedback.recommendation_id, feedback.kind, item, str(position), at)


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"

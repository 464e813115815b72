"""Make the lists of a batch of requests from the scores of the model and from what is for sale."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from lastaisle.feedback.origin import list_id
from lastaisle.serve.questions import Answer, Asked, Policy, Recommended, check_context, wrong
from lastaisle.serve.shown.placing import Ranked, Request
from lastaisle.web.refusal import RefusedError
from models.checkout_model import CheckoutModel, best_of

if TYPE_CHECKING:
    from lastaisle.serve.following.served import ServedVersion
    from lastaisle.serve.shown.shelf import Shelf
    from lastaisle.serve.shown.view import ShelfView

EXPLAINED: Final = 20
"""How many of a session's last items an explanation looks at."""
_RANDOM: Final = random.Random()  # ids need to be unlike, not secret

Outcome = Answer | RefusedError


def make_lists(
    served: ServedVersion, shelf: Shelf | None, questions: Sequence[Asked], now: datetime | None = None
) -> list[Outcome]:
    """Answer a batch of requests.

    Args:
        served: the version that answers.
        shelf: what is for sale, and the rules; None without a catalogue.
        questions: the requests, read; a shopper stands in `pseudonym`.
        now: the present moment, which rules are asked with; by default now.

    Returns:
        for each request its answer, or the refusal of a value.
    """
    view = shelf.of(served.model) if shelf else None
    moment = now or datetime.now(UTC)
    outcomes: dict[int, Outcome] = {}
    makers: dict[int, _ListMaker] = {}
    for place, question in enumerate(questions):
        try:
            penalties = _penalties(served.model, view, question)
            makers[place] = _ListMaker(served, shelf, view, question, moment, penalties)
        except RefusedError as refusal:
            outcomes[place] = refusal
    outcomes |= zip(makers, _answer_all(served.model, list(makers.values())), strict=True)
    return [outcomes[place] for place in range(len(questions))]


def _answer_all(model: CheckoutModel, makers: Sequence[_ListMaker]) -> list[Outcome]:
    """Score all requests at once; if one has a value that cannot be read, score each alone."""
    answers: dict[int, Answer] = {}
    are_read = False

    def answer(place: int, scores: NDArray[np.float32], is_scored: bool) -> None:
        nonlocal are_read
        are_read = True
        answers[place] = makers[place].answer(scores, is_scored)

    try:
        model.score_each([_session(maker.question) for maker in makers], answer)
    except ValueError as error:
        if are_read:
            raise
        if len(makers) == 1:
            return [wrong(str(error).removeprefix("session 0: "))]
        return [outcome for maker in makers for outcome in _answer_all(model, [maker])]
    return [maker.completed(answers[place]) for place, maker in enumerate(makers)]


def _penalties(model: CheckoutModel, view: ShelfView | None, question: Asked) -> NDArray[np.float32] | None:
    """Return what is added to the scores, float32 [size]: -inf for what may not be shown; None adds nothing.

    Raises:
        RefusedError: 422, a column of the context or the filter is wrong.
    """
    if question.context:
        check_context(question.context, model.columns)
    if view is None:
        if question.filter:
            raise wrong("filter needs a catalogue, and this service has none")
        return None
    try:
        return view.penalties(question.filter)
    except ValueError as error:
        raise wrong(f"filter: {error}") from None


def _session(question: Asked) -> tuple[Sequence[str | None], Mapping[str, Any]]:
    """Return the items and the context that the model may use.

    It may use nothing without consent, or if popular items are asked for: then its scores are popularities.
    """
    is_for_model = question.consent and question.policy == "model"
    return (question.items, question.context) if is_for_model else ([], {})


@dataclass(frozen=True)
class _ListMaker:
    """Makes the list of one request."""

    served: ServedVersion
    shelf: Shelf | None
    view: ShelfView | None
    question: Asked
    now: datetime
    penalties: NDArray[np.float32] | None

    def answer(self, scores: NDArray[np.float32], is_scored: bool) -> Answer:
        """Return the answer without titles and explanation.

        Args:
            scores: float32 [size], which this changes and does not keep.
            is_scored: whether the model scored the session.
        """
        question, model = self.question, self.served.model
        policy: Policy = "model" if is_scored and question.policy == "model" else "popular"
        digits, is_drawn = f"{_RANDOM.getrandbits(96):024x}", False
        excluded = self._excluded()
        scores[[model.index[item] for item in excluded if item in model.index]] = -np.inf
        if self.penalties is not None:
            np.add(scores, self.penalties, out=scores)
        best = best_of(scores, question.k)
        ids, values = model.items[best].tolist(), scores[best].tolist()
        ranked = [Ranked(item, value, policy) for item, value in zip(ids, values, strict=True)]
        if self.shelf is not None and self.view is not None:
            request = self._request(self.view, scores, excluded, digits)
            is_drawn = self.shelf.rules.draw(request, len(ranked))
            ranked = self.shelf.rules.apply(ranked, request)
        items = [Recommended(*entry) for entry in ranked]
        made_id = list_id(self.served.version, policy, digits, consent=question.consent, is_drawn=is_drawn)
        return Answer(made_id, self.served.version, self.served.name, policy, items)

    def completed(self, answer: Answer) -> Answer:
        """Add the titles, and the explanation, for which the model scores again."""
        if self.question.explain and answer.policy == "model":
            self._explain(answer.items)
        self._name(answer.items)
        return answer

    def _excluded(self) -> Set[str]:
        question = self.question
        seen = self.served.model.exclude_seen if question.exclude_seen is None else question.exclude_seen
        return question.excluded | {item for item in question.items if item} if seen else question.excluded

    def _request(
        self, view: ShelfView, scores: NDArray[np.float32], excluded: Set[str], seed: str
    ) -> Request:
        question = self.question
        return Request(
            view=view,
            scores=scores,
            k=question.k,
            now=self.now,
            placement=question.placement,
            excluded=excluded,
            filter=question.filter,
            seed=seed,
        )

    def _name(self, items: Sequence[Recommended]) -> None:
        if self.view is not None:
            for item, title in zip(items, self.view.titles([item.id for item in items]), strict=True):
                item.title = UNSET if title is None else title

    def _explain(self, items: Sequence[Recommended]) -> None:
        """Name for each item the item of the session without which its score is lowest."""
        model, session = self.served.model, self.question.items
        known = [(at, item) for at, item in enumerate(session) if item and item in model.index][-EXPLAINED:]
        scored = [item for item in items if item.id in model.index]
        if not known or not scored:
            return
        without = [(_left_out(session, at), self._context_without(at)) for at, _ in known]
        scores, _ = model.score(without)
        rows = [model.index[item.id] for item in scored]
        for item, lowest in zip(scored, scores[:, rows].argmin(axis=0), strict=True):
            item.because = known[lowest][1]

    def _context_without(self, at: int) -> dict[str, Any]:
        columns, (_, given) = self.served.model.columns, _session(self.question)
        return {
            name: _left_out(values, at) if columns.get(name) == "event" and values else values
            for name, values in given.items()
        }


def _left_out(values: Sequence[Any], at: int) -> list[Any]:
    return [*values[:at], *values[at + 1 :]]

"""Answer a batch of requests: each by the champion, or by the version of the arm that it belongs to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from lastaisle.serve.list_maker import ListMaker
from lastaisle.serve.questions import Answer, Asked, check_context, wrong
from lastaisle.web.refusal import RefusedError
from models.checkout_model import CheckoutModel

if TYPE_CHECKING:
    from lastaisle.serve.following.served import ServedVersion
    from lastaisle.serve.shown.shelf import Shelf
    from lastaisle.serve.shown.view import ShelfView

Outcome = Answer | RefusedError
Made = TypeVar("Made")
_Use = Callable[[ListMaker, NDArray[np.float32], bool], Made]

log: Final = logging.getLogger(__name__)


def make_lists(
    served: ServedVersion, shelf: Shelf | None, questions: Sequence[Asked], now: datetime | None = None
) -> list[Outcome]:
    """Answer a batch of requests.

    Where the version of an arm cannot answer, the champion does. Then the list belongs to no trial, and
    `failed` of the request holds the arm.

    Args:
        served: the version that answers, the champion.
        shelf: what is for sale, and the rules; None without a catalogue.
        questions: the requests, read; a shopper stands in `pseudonym`.
        now: the present moment, which rules are asked with; by default now.

    Returns:
        for each request its answer, or the refusal of a value.
    """
    moment = now or datetime.now(UTC)
    outcomes: dict[int, Outcome] = {}
    for version, places in _of_arms(served, questions):
        made = _try_arms(version, served, shelf, [questions[place] for place in places], moment)
        for place, outcome in zip(places, made, strict=True):
            if isinstance(outcome, Answer):
                outcomes[place] = outcome
            else:
                question = questions[place]
                question.assigned, question.failed = None, question.assigned
    left = [place for place in range(len(questions)) if place not in outcomes]
    if left:
        made = _answer(served, served, shelf, [questions[place] for place in left], moment)
        outcomes |= zip(left, made, strict=True)
    return [outcomes[place] for place in range(len(questions))]


def _of_arms(
    champion: ServedVersion, questions: Sequence[Asked]
) -> Iterator[tuple[ServedVersion, list[int]]]:
    """Yield each version that arms need, with the places of their requests.

    The champion's own requests are left out, and so are those of arms that it answers without a mix.
    """
    found: dict[int, tuple[ServedVersion, list[int]]] = {}
    for place, question in enumerate(questions):
        assigned = question.assigned
        if assigned is not None and (assigned.served is not None or assigned.arm.mix is not None):
            version = assigned.served or champion
            found.setdefault(id(version), (version, []))[1].append(place)
    yield from found.values()


def _try_arms(
    served: ServedVersion,
    champion: ServedVersion,
    shelf: Shelf | None,
    questions: Sequence[Asked],
    now: datetime,
) -> Sequence[Outcome | Exception]:
    """Return the outcomes of arms of one version; the error for each of them if the version cannot answer."""
    try:
        return _answer(served, champion, shelf, questions, now)
    except Exception as error:  # of the arm's model: it must cost no shopper the list
        # The message stays out of the log, since it may hold values of the request.
        log.warning("version %s cannot answer for its arm: %s", served.version, type(error).__name__)
        return [error] * len(questions)


def _answer(
    served: ServedVersion,
    champion: ServedVersion,
    shelf: Shelf | None,
    questions: Sequence[Asked],
    now: datetime,
) -> list[Outcome]:
    """Answer requests by one version."""
    view = shelf.of(served.model) if shelf else None
    columns: Collection[str] = served.model.columns
    if served is not champion:  # a version never refuses a request for a column that the champion reads
        columns = {*columns, *champion.model.columns}
    outcomes: dict[int, Outcome] = {}
    makers: dict[int, ListMaker] = {}
    for place, question in enumerate(questions):
        try:
            if question.context:
                check_context(question.context, columns)
            makers[place] = ListMaker(served, shelf, view, question, now, _penalties(view, question))
        except RefusedError as refusal:
            outcomes[place] = refusal
    listed = list(makers.values())
    _add_mixes(listed, champion)
    outcomes |= zip(makers, _score_all(served.model, listed, ListMaker.answer), strict=True)
    for place, maker in makers.items():
        outcome = outcomes[place]
        if isinstance(outcome, Answer):
            maker.complete(outcome)
    return [outcomes[place] for place in range(len(questions))]


def _add_mixes(makers: Sequence[ListMaker], champion: ServedVersion) -> None:
    """Make the other lists of arms that mix two lists."""
    pairs = [(maker, other) for maker in makers if (other := _other(maker, champion)) is not None]
    for model in {id(other.served): other.served.model for _, other in pairs}.values():
        chosen = [(maker, other) for maker, other in pairs if other.served.model is model]
        ranked = _score_all(model, [other for _, other in chosen], ListMaker.rank)
        for (maker, _), entries in zip(chosen, ranked, strict=True):
            if isinstance(entries, RefusedError):
                raise ValueError(str(entries)) from entries
            maker.mixed = entries


def _other(maker: ListMaker, champion: ServedVersion) -> ListMaker | None:
    """Return the maker of the other list of a mix; None without a mix."""
    assigned = maker.question.assigned
    if assigned is None or assigned.arm.mix is None:
        return None
    served, shelf, question = assigned.other or champion, maker.shelf, maker.question
    view = shelf.of(served.model) if shelf else None
    other = ListMaker(served, shelf, view, question, maker.now, _penalties(view, question))
    other.policy, other.leaves_out_seen = assigned.arm.mix.policy, maker.leaves_out_seen
    return other


def _score_all(
    model: CheckoutModel, makers: Sequence[ListMaker], use: _Use[Made]
) -> list[Made | RefusedError]:
    """Score all requests at once; if one has a value that cannot be read, score each alone."""
    made: dict[int, Made] = {}
    are_read = False

    def take(place: int, scores: NDArray[np.float32], is_scored: bool) -> None:
        nonlocal are_read
        are_read = True
        made[place] = use(makers[place], scores, is_scored)

    try:
        model.score_each([maker.session() for maker in makers], take)
    except ValueError as error:
        if are_read:
            raise
        if len(makers) == 1:
            return [wrong(str(error).removeprefix("session 0: "))]
        return [outcome for maker in makers for outcome in _score_all(model, [maker], use)]
    return [made[place] for place in range(len(makers))]


def _penalties(view: ShelfView | None, question: Asked) -> NDArray[np.float32] | None:
    """Return what is added to the scores, float32 [size]: -inf for what may not be shown; None adds nothing.

    Raises:
        RefusedError: 422, the filter is wrong.
    """
    if view is None:
        if question.filter:
            raise wrong("filter needs a catalogue, and this service has none")
        return None
    try:
        return view.penalties(question.filter)
    except ValueError as error:
        raise wrong(f"filter: {error}") from None

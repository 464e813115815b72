"""Make the list of one request from the scores of one version and from what is for sale."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from lastaisle.feedback.origin import list_id, propensity_text
from lastaisle.serve.questions import Answer, Asked, Carried, Policy, Recommended, Why
from lastaisle.serve.shown.placing import Ranked, Request
from models.checkout_model import best_of

if TYPE_CHECKING:
    from lastaisle.serve.following.served import ServedVersion
    from lastaisle.serve.shown.shelf import Shelf
    from lastaisle.serve.shown.view import ShelfView

EXPLAINED: Final = 20
"""How many of a session's last items an explanation looks at."""
CARRIERS: Final = 3
"""How many items of the session an explanation names for each item."""
_RANDOM: Final = random.Random()  # ids need to be unlike, not secret


@dataclass
class ListMaker:
    """Makes the list of one request, as its arm says.

    Attributes:
        served: the version that answers.
        shelf: what is for sale, and the rules; None without a catalogue.
        view: what the version may show now; None without a catalogue.
        question: the request.
        now: the present moment.
        penalties: float32 [size], added to the scores; None adds nothing.
        policy: model or popular, as the arm or the request says.
        leaves_out_seen: whether the list leaves out the session's own items.
        mixed: the other list of a mix.
    """

    served: ServedVersion
    shelf: Shelf | None
    view: ShelfView | None
    question: Asked
    now: datetime
    penalties: NDArray[np.float32] | None
    policy: Policy = field(init=False)
    leaves_out_seen: bool = field(init=False)
    mixed: Sequence[Ranked] = ()

    def __post_init__(self) -> None:
        arm = self.question.assigned.arm if self.question.assigned else None
        self.policy = arm.policy if arm else self.question.policy
        asked = self.question.exclude_seen if arm is None or arm.exclude_seen is None else arm.exclude_seen
        self.leaves_out_seen = self.served.model.exclude_seen if asked is None else asked

    def session(self) -> tuple[Sequence[str | None], Mapping[str, Any]]:
        """Return the items and the context that the model may use.

        It may use nothing without consent, or for popular items: then its scores are popularities.
        """
        is_for_model = self.question.consent and self.policy == "model"
        return (self.question.items, self.question.context) if is_for_model else ([], {})

    def rank(self, scores: NDArray[np.float32], is_scored: bool) -> list[Ranked]:
        """Return the best items that the request may get, best first, without the rules.

        Args:
            scores: float32 [size], which this changes and does not keep.
            is_scored: whether the model scored the session.
        """
        model = self.served.model
        policy = self._policy_of(is_scored)
        scores[[model.index[item] for item in self._excluded() if item in model.index]] = -np.inf
        if self.penalties is not None:
            np.add(scores, self.penalties, out=scores)
        best = best_of(scores, self.question.k)
        ids, values = model.items[best].tolist(), scores[best].tolist()
        return [Ranked(item, value, policy) for item, value in zip(ids, values, strict=True)]

    def answer(self, scores: NDArray[np.float32], is_scored: bool) -> Answer:
        """Return the answer without titles and explanation; see `rank`."""
        question, assigned = self.question, self.question.assigned
        digits, is_drawn = assigned.digits if assigned else f"{_RANDOM.getrandbits(96):024x}", False
        ranked = self.rank(scores, is_scored)
        if self.mixed and assigned and assigned.arm.mix:
            ranked = mix(ranked, self.mixed, assigned.arm.mix.positions, question.k)
        has_rules = assigned is None or assigned.arm.rules
        if has_rules and self.shelf is not None and self.view is not None:
            request = self._request(self.view, scores, digits)
            is_drawn = self.shelf.rules.draw(request, len(ranked))
            ranked = self.shelf.rules.apply(ranked, request)
        items = [Recommended(*entry) for entry in ranked]
        version, policy = self.served.version, self._policy_of(is_scored)
        label = assigned.label if assigned else None
        made_id = list_id(version, policy, digits, consent=question.consent, is_drawn=is_drawn, label=label)
        answer = Answer(made_id, version, self.served.name, policy, items)
        if label is not None:
            answer.experiment, answer.arm = label.experiment, label.arm
            answer.propensity = float(propensity_text(label.propensity))
        return answer

    def complete(self, answer: Answer) -> None:
        """Add the titles, and the explanation, for which the model scores again."""
        if self.question.explain:
            self._explain(answer)
        self._name(answer.items)

    def _policy_of(self, is_scored: bool) -> Policy:
        return "model" if is_scored and self.policy == "model" else "popular"

    def _excluded(self) -> Set[str]:
        question = self.question
        if not self.leaves_out_seen:
            return question.excluded
        return question.excluded | {item for item in question.items if item}

    def _request(self, view: ShelfView, scores: NDArray[np.float32], seed: str) -> Request:
        question = self.question
        return Request(
            view=view,
            scores=scores,
            k=question.k,
            now=self.now,
            placement=question.placement,
            excluded=self._excluded(),
            filter=question.filter,
            seed=seed,
        )

    def _name(self, items: Sequence[Recommended]) -> None:
        if self.view is not None:
            for item, title in zip(items, self.view.titles([item.id for item in items]), strict=True):
                item.title = UNSET if title is None else title

    def _explain(self, answer: Answer) -> None:
        """Say for each item why it is in the list; see `Why`."""
        items, model = answer.items, self.served.model
        for item in items:
            item.why = self._why_of(item, answer)
        scored = [item for item in items if item.id in model.index]
        if answer.policy != "model":
            for item in scored:  # the scores of such a list are the popularities
                if item.why is not UNSET and item.score is not None:
                    item.why.popularity = item.score
            return
        if not scored:
            return
        session = self.question.items
        known = [(at, item) for at, item in enumerate(session) if item and item in model.index][-EXPLAINED:]
        without = [(_left_out(session, at), self._context_without(at)) for at, _ in known]
        scores, _ = model.score([([], {}), self.session(), *without])
        rows = [model.index[item.id] for item in scored]
        popular, full, rest = scores[0, rows], scores[1, rows], scores[2:, rows]
        for item, popularity in zip(scored, popular.tolist(), strict=True):
            if item.why is not UNSET:
                item.why.popularity = float(popularity)
        if known:
            self._name_carriers(scored, [item for _, item in known], full, rest)

    def _why_of(self, item: Recommended, answer: Answer) -> Why:
        """Return what the answer itself says of an item."""
        kind, _, rule = item.reason.partition(":")
        why = Why(rule=rule if kind == "rule" else UNSET)
        label = self.question.assigned.label if self.question.assigned else None
        if label is not None:
            why.experiment, why.arm, why.propensity = answer.experiment, answer.arm, answer.propensity
            why.explored = UNSET if label.choice is None else label.choice != label.arm
        return why

    @staticmethod
    def _name_carriers(
        scored: Sequence[Recommended],
        known: Sequence[str],
        full: NDArray[np.float32],
        rest: NDArray[np.float32],
    ) -> None:
        """Name for each item the item of the session without which its score is lowest, and the next ones.

        Args:
            scored: the recommended items that the model knows.
            known: the items of the session that were left out in turn.
            full: float32 [scored], the scores of the whole session.
            rest: float32 [known, scored], the scores without each item of the session.
        """
        lost = np.clip(full - rest, 0.0, None).astype(np.float64)
        shares = np.divide(lost, lost.sum(axis=0), out=np.zeros_like(lost), where=lost.sum(axis=0) > 0)
        for at, item in enumerate(scored):
            item.because = known[int(rest[:, at].argmin())]
            strongest = np.argsort(-shares[:, at], kind="stable")[:CARRIERS]
            carriers = [
                Carried(known[one], round(float(shares[one, at]), 4))
                for one in strongest
                if shares[one, at] > 0
            ]
            if item.why is not UNSET and carriers:
                item.why.carried_by = carriers

    def _context_without(self, at: int) -> dict[str, Any]:
        columns, (_, given) = self.served.model.columns, self.session()
        return {
            name: _left_out(values, at) if columns.get(name) == "event" and values else values
            for name, values in given.items()
        }


def mix(
    ranked: Sequence[Ranked], other: Sequence[Ranked], positions: Collection[int], k: int
) -> list[Ranked]:
    """Return a list whose items at some positions come from another list, without an item twice.

    Where one list has no further item, the other one gives it.

    Args:
        ranked: the list, best first.
        other: the other list, best first.
        positions: the positions of the other list's items, 1 at the top.
        k: the length of the list.
    """
    mixed: dict[str, Ranked] = {}
    own, theirs = iter(ranked), iter(other)
    for position in range(1, k + 1):
        entries = chain(theirs, own) if position in positions else chain(own, theirs)
        entry = next((each for each in entries if each.id not in mixed), None)
        if entry is None:
            break
        mixed[entry.id] = entry
    return list(mixed.values())


def _left_out(values: Sequence[Any], at: int) -> list[Any]:
    return [*values[:at], *values[at + 1 :]]

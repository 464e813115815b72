"""Honour what shoppers decided: in lists, and in what is kept of feedback."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from lastaisle.privacy.consents import Decision, Purpose
from lastaisle.serve.consents.body import read_decisions
from lastaisle.serve.consents.consents import UNKNOWN, WITHDRAWN, Consents
from lastaisle.serve.pseudonyms import HeldKey
from lastaisle.serve.questions import Asked, read_question
from lastaisle.web.refusal import RETRY_AFTER_SECONDS, RefusedError

Headers = Iterable[tuple[bytes, bytes]]
REMEMBERED: Final[tuple[Purpose, ...]] = ("analytics", "personalization")
"""The purposes of feedback that is kept: figures of the shop, and what models learn."""


class Honour:
    """Applies the header Sec-GPC and the decisions of the table `consents`.

    Args:
        consents: the decisions; None if the service follows none.
        refused_by_gpc: the purposes that Sec-GPC refuses.
    """

    def __init__(self, consents: Consents | None, refused_by_gpc: Iterable[str]) -> None:
        self._consents = consents
        self._by_gpc = frozenset(refused_by_gpc)

    @property
    def is_ready(self) -> bool:
        """Whether the decisions were asked for once."""
        return self._consents is None or self._consents.has_looked

    def question(self, body: bytes, headers: Headers, pseudonym_of: Callable[[str, str | int], str]) -> Asked:
        """Read a request for recommendations; without consent it has neither a shopper nor a visit.

        Raises:
            RefusedError: as `read_question` does.
        """
        opts_out = "personalization" in self._by_gpc and has_opt_out(headers)
        question = read_question(body, pseudonym_of, opts_out=opts_out)
        if self._consents is not None and question.consent:
            names = [name for name in (question.unit, question.visit) if name is not None]
            reason = self._consents.refusal(names, "personalization")
            if reason == WITHDRAWN:
                question.withhold("withdrawn")
            elif reason == UNKNOWN:
                question.withhold("unknown")
        return question

    def refuses_all(self, headers: Headers) -> bool:
        """Tell whether the head of a request forbids to keep any of its feedback."""
        return not self._by_gpc.isdisjoint(REMEMBERED) and has_opt_out(headers)

    def forgets(self, *pseudonyms: str | None) -> bool:
        """Tell whether feedback of a shopper and a visit may not be kept.

        Raises:
            RefusedError: 503, nobody knows yet who withdrew the consent.
        """
        if self._consents is None:
            return False
        reason = self._consents.refusal([name for name in pseudonyms if name is not None], *REMEMBERED)
        if reason == UNKNOWN:
            message = "it is not known yet which shoppers withdrew their consent; /v1/model says why"
            raise RefusedError(503, "unready", message, RETRY_AFTER_SECONDS)
        return bool(reason)

    async def record(self, body: bytes, held: HeldKey) -> list[Decision]:
        """Record a decision; return what was recorded when it is durable and honoured here.

        Raises:
            RefusedError: as `read_decisions` does; 503, the decision is not durable.
        """
        decisions, is_ours = read_decisions(body, held.of)
        if self._consents is None:
            raise RefusedError(503, "storage", "this service keeps no decisions", RETRY_AFTER_SECONDS)
        # Only a sender knows which key made the pseudonym that it sends.
        version = held.key.version if is_ours and held.key is not None else None
        await self._consents.record(decisions, version)
        return decisions


def has_opt_out(headers: Headers) -> bool:
    """Tell whether a request carries Sec-GPC: 1, as the specification of Global Privacy Control writes it."""
    return any(name == b"sec-gpc" and value.strip() == b"1" for name, value in headers)

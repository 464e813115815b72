"""The first step of a candidate that the gate passed."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from lastaisle.registry.ledger import CANARY, PROMOTE, REFUSE, SHADOW, Standing
from lastaisle.release.gate import Decision
from lastaisle.release.steps.follow import share_check

if TYPE_CHECKING:
    from lastaisle.release.steps.rules import ReleaseRules


class Entry(NamedTuple):
    """The move that follows a decision of the gate.

    Attributes:
        action: promote, refuse, shadow or canary.
        alias: the alias that moves, or stays.
        from_version: the version that holds the alias.
        reason: what follows, for the ledger; empty if it is the decision itself.
        decision: the decision, with the share of the step.
    """

    action: str
    alias: str
    from_version: str | None
    reason: str
    decision: Decision


def first_move(decision: Decision, rules: ReleaseRules, present: Standing) -> Entry:
    """Return the move that follows a decision of the gate.

    The first champion has nobody to be compared with, so that it takes no steps. A newer candidate takes the
    place of the shadow. It never takes the place of a canary: it waits for the canary's end as the shadow.

    Args:
        decision: of the gate.
        rules: the steps.
        present: the versions that hold the aliases.
    """
    shadow, canary = rules.steps.shadow, rules.steps.canary
    if not decision.promote:
        return Entry(REFUSE, "champion", present.champion, "", decision)
    if present.champion is None or (shadow is None and canary is None):
        return Entry(PROMOTE, "champion", present.champion, "", decision)
    if shadow is None and canary is not None and present.canary is None and present.shadow is None:
        reason = f"It answers {canary.share:.1%} of the shoppers as canary."
        return Entry(CANARY, "canary", None, reason, _with_share(decision, canary.share, "shoppers"))
    replaced = "" if present.shadow is None else f" It takes the place of version {present.shadow}."
    if shadow is None:
        reason = f"It waits for the end of the canary, version {present.canary}.{replaced}"
        return Entry(SHADOW, "shadow", present.shadow, reason, decision)
    reason = f"It scores {shadow.share:.1%} of the requests as shadow.{replaced}"
    return Entry(SHADOW, "shadow", present.shadow, reason, _with_share(decision, shadow.share, "requests"))


def _with_share(decision: Decision, share: float, of: str) -> Decision:
    return dataclasses.replace(decision, checks=(*decision.checks, share_check(share, of)))

"""The bodies that a shopper's page sends to the service: questions and feedback, with the shop's own ids."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from lastaisle.simulate.lines import item_name, session_name, shopper_name, stamp_of
from lastaisle.simulate.live.service import ListOfItems
from lastaisle.simulate.shop import DrawnDay
from lastaisle.simulate.shoppers import DEVICES, PLACES

EXPERIMENT: Final = "demo"
"""The name of the experiment that the shop runs."""
MODEL_ARM: Final = "model"
POPULAR_ARM: Final = "popular"
NO_ARM: Final = ""
"""The shop runs no experiment of its own: the service may assign shoppers to arms."""


@dataclass(frozen=True)
class View:
    """A view of an item so far in a session.

    Attributes:
        item: number of the item.
        dwell: milliseconds on its page.
        price: of the item, in EUR.
    """

    item: int
    dwell: int
    price: float


@dataclass(frozen=True)
class Caller:
    """The shopper of a session as the shop's page knows the shopper.

    Attributes:
        session_id: the shop's own id of the session; None if its page labels no sessions.
        user_id: the shop's own id of the shopper; None if the shopper is not signed in.
        context: values of context columns of the session.
        is_remembered: whether the shopper agrees to analytics.
        is_personal: whether the shopper agrees to personal recommendations.
        arm: MODEL_ARM or POPULAR_ARM of the shop's own experiment; NO_ARM if the shop runs none.
        tells: whether the page sends feedback on additions and orders too.
    """

    session_id: str | None
    user_id: str | None
    context: Mapping[str, str]
    is_remembered: bool
    is_personal: bool
    arm: str
    tells: bool

    def question(
        self, placement: str, views: Sequence[View], cart: Sequence[int], count: int
    ) -> dict[str, Any]:
        """Return the body that asks for a list; the page does not know yet how long the last view takes."""
        of_events = {
            "event_type": ["item_viewed"] * len(views),
            "dwell_ms": [*(view.dwell for view in views[:-1]), *([None] if views else [])],
            "price": [view.price for view in views],
        }
        asked = {
            "items": [item_name(view.item) for view in views],
            "cart": [item_name(item) for item in cart],
            "context": {**self.context, **of_events},
            "k": count,
            "placement": placement,
            "consent": self.is_personal,
        }
        asked |= {"policy": self.arm} if self.arm else {}
        return asked | (self._ids() if self.is_personal else {})

    def feedback(
        self, kind: str, listed: ListOfItems, placement: str, positions: Sequence[int], moment: int
    ) -> dict[str, Any]:
        """Return the body of feedback on items of a list.

        Args:
            kind: shown, clicked, added or bought.
            listed: the list.
            placement: where the list was shown.
            positions: the positions of the items; 1 is the top.
            moment: milliseconds since the epoch.
        """
        told = {
            "recommendation_id": listed.recommendation_id,
            "kind": kind,
            "items": [listed.items[position - 1] for position in positions],
            "positions": list(positions),
            "placement": placement,
            "at": time_text(moment),
            "consent": self.is_remembered,
        }
        if self.arm and not listed.experiment:  # the id of a list says which arm of the service made it
            told |= {"experiment": EXPERIMENT, "arm": self.arm}
        return told | (self._ids() if self.is_remembered else {})

    def _ids(self) -> dict[str, str]:
        """Return the shop's own ids of session and shopper, as far as the page knows them."""
        ids = {"session_id": self.session_id, "user_id": self.user_id}
        return {name: value for name, value in ids.items() if value is not None}


def caller_of(drawn: DrawnDay, session: int, popular_share: float | None, telling: float) -> Caller:
    """Return the shopper of a session.

    A shopper who is signed in has one arm in all sessions; another session has an arm of its own. Without a
    `popular_share`, nobody has an arm of the shop.
    """
    sessions, shoppers = drawn.sessions, drawn.shoppers
    shopper = int(sessions.shopper[session])
    user = None if sessions.anonymous[session] else shopper_name(shopper)
    name = session_name(stamp_of(drawn.day), session)
    arm = NO_ARM
    if popular_share is not None:
        arm = POPULAR_ARM if share_of(f"{EXPERIMENT}/{user or name}") < popular_share else MODEL_ARM
    country, region = PLACES[shoppers.place[shopper]]
    context = {
        "device_type": DEVICES[sessions.device[session]],
        "country": country,
        "region": region,
        "started_at": time_text(int(sessions.started[session])),
    }
    return Caller(
        session_id=None if sessions.unlabelled[session] else name,
        user_id=user,
        context=context,
        is_remembered=bool(shoppers.analytics[shopper]),
        is_personal=bool(shoppers.personalization[shopper]),
        arm=arm,
        tells=share_of(f"tells/{user or name}") < telling,
    )


def share_of(text: str) -> float:
    """Return a number in [0, 1) that a text always gets: texts are spread evenly."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def time_text(milliseconds: int) -> str:
    """Write milliseconds since the epoch as a UTC timestamp."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC).replace(tzinfo=None)
    return f"{moment.isoformat(timespec='milliseconds')}Z"

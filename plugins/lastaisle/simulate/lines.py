"""Events as lines of canonical JSON; every identifier in them begins with sim-."""

from __future__ import annotations

import numpy as np

from lastaisle.simulate.catalogue import Catalogue
from lastaisle.simulate.draws import Ints, choose
from lastaisle.simulate.events import EVENT_TYPES, ORDER, Events
from lastaisle.simulate.options import Day, Part
from lastaisle.simulate.sessions import Sessions
from lastaisle.simulate.shoppers import DEVICES, PLACES, Shoppers

REFERRERS = (
    "",
    "https://search.example/?q=shop",
    "https://news.example/deals/today?utm_source=mail",
    "https://social.example/post/1",
    "https://prices.example/compare",
)
REFERRER_WEIGHTS = (0.45, 0.3, 0.1, 0.1, 0.05)


def item_name(item: int) -> str:
    """Name an item of the catalogue."""
    return f"sim-{item:05d}"


def item_number(name: str) -> int:
    """Return the number of the item that `item_name` names so; -1 for another text."""
    digits = name.removeprefix("sim-")
    number = int(digits) if digits.isdecimal() and len(digits) < 19 else -1
    return number if number >= 0 and item_name(number) == name else -1


def shopper_name(shopper: int) -> str:
    """Name a shopper as the shop's own logs do, by the user_id."""
    return f"sim-u{shopper}"


def session_name(stamp: str, session: int) -> str:
    """Name a session of the day that a stamp such as 20251001 names, by the session_id."""
    return f"sim-s{stamp}-{session}"


def stamp_of(day: Day) -> str:
    """Return the day as names contain it, such as 20251001."""
    return day.date.strftime("%Y%m%d")


def timestamps(milliseconds: Ints) -> list[str]:
    """Write milliseconds since the epoch as UTC timestamps."""
    text: list[str] = np.datetime_as_string(milliseconds.astype("datetime64[ms]"), timezone="UTC").tolist()
    return text


def lines_of(
    day: Day, catalogue: Catalogue, shoppers: Shoppers, sessions: Sessions, events: Events, *, received: Ints
) -> list[str]:
    """Write one line for each event, without line ends, in the order of the events."""
    rng = day.generator(Part.REFERRERS)
    stamp = stamp_of(day)
    heads = [f'"event_type":"{kind}","occurred_at":"' for kind in EVENT_TYPES]
    items = _item_parts(catalogue)
    session_parts = _session_parts(stamp, shoppers, sessions)
    sources = choose(rng, REFERRER_WEIGHTS, len(sessions)).tolist()
    lines = []
    columns = (events.kind, events.session, events.item, events.quantity, events.dwell, events.first)
    rows = zip(
        timestamps(events.occurred),
        timestamps(received),
        *(column.tolist() for column in columns),
        strict=True,
    )
    for number, (occurred, arrived, kind, session, item, quantity, dwell, first) in enumerate(rows):
        line = f'{{"event_id":"sim-e{stamp}-{number}",{heads[kind]}{occurred}","received_at":"{arrived}"'
        line += session_parts[session]
        if item >= 0:
            line += items[item]
        if quantity:
            line += f',"quantity":{quantity}'
        if dwell >= 0:
            line += f',"dwell_ms":{dwell}'
        if kind == ORDER:
            line += f',"order_id":"sim-o{stamp}-{session}"'
        if first and sources[session]:
            line += f',"referrer":"{REFERRERS[sources[session]]}"'
        lines.append(line + "}")
    return lines


def _item_parts(catalogue: Catalogue) -> list[str]:
    """Write the fields about each item, as the lines contain them."""
    return [
        f',"item_id":"{item_name(item)}","price":{price:.2f},"currency":"EUR",'
        f'"category":"{catalogue.category(item)}","brand":"sim-brand-{shelf}-{brand}"'
        for item, (price, shelf, brand) in enumerate(
            zip(catalogue.price.tolist(), catalogue.shelf.tolist(), catalogue.brand.tolist(), strict=True)
        )
    ]


def _session_parts(stamp: str, shoppers: Shoppers, sessions: Sessions) -> list[str]:
    """Write the fields about the shopper of each session, as the lines contain them."""
    parts = []
    columns = (sessions.shopper, sessions.anonymous, sessions.unlabelled, sessions.device)
    for number, (shopper, anonymous, unlabelled, device) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        user = "" if anonymous else f',"user_id":"{shopper_name(shopper)}"'
        session = "" if unlabelled else f',"session_id":"{session_name(stamp, number)}"'
        country, region = PLACES[shoppers.place[shopper]]
        parts.append(
            f'{user}{session},"device_type":"{DEVICES[device]}","country":"{country}","region":"{region}",'
            f'"consent":{{"analytics":{_json(shoppers.analytics[shopper])},'
            f'"personalization":{_json(shoppers.personalization[shopper])}}}'
        )
    return parts


def _json(flag: bool) -> str:
    return "true" if flag else "false"

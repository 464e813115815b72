"""Slack's incoming webhooks, and those of Mattermost, Rocket.Chat and Discord (/slack) that take the same."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from lastaisle.delivery.notice import Notice, is_address, one_line, shortened
from lastaisle.delivery.post import post
from lastaisle.delivery.sent import Sent

_HEADER: Final = 150  # characters; the limits of Slack
_SECTION: Final = 3000
_FALLBACK: Final = 2000  # Discord takes no more
_LINKS: Final = 10
_MEANINGS: Final = {
    400: "it does not take this message",
    403: "this webhook may not post, or not in this channel",
    404: "it does not know this webhook: make a new one",
    410: "the channel of this webhook is archived",
}


def slack(address: str) -> Callable[[Notice], Sent]:
    """Return the function that sends a notice to an incoming webhook."""
    return partial(_send, address=address)


def payload_of(notice: Notice) -> dict[str, Any]:
    """Return what is posted: blocks for Slack, and the same as text for those who read no blocks."""
    links = [_link(name, address) for name, address in notice.links[:_LINKS]]
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": shortened(notice.line, _HEADER)}}
    ]
    if notice.body:
        blocks.append(_section(escape(notice.body, _SECTION)))
    if links:
        blocks.append(_section(_fitting(links, _SECTION)))
    title = f"*{escape(notice.line, _HEADER)}*"
    ending = _fitting(links, _FALLBACK // 2)
    room = _FALLBACK - len(title) - len(ending) - 2
    return {
        "text": "\n".join(filter(None, (title, escape(notice.body, room), ending))),
        "blocks": blocks,
        "unfurl_links": False,
    }


def escape(text: str, longest: int) -> str:
    """Return a text as Slack shows it, of at most so many characters.

    No part of the text becomes a link or calls people: `<!channel>` is Slack's form, `@channel` that of
    Mattermost and Discord.
    """
    text = re.sub(r"@(?=channel|here|all|everyone)", "@\u200b", text, flags=re.IGNORECASE)
    escaped = text
    length = len(text)
    while len(escaped := _entities(shortened(text, length))) > longest:
        length -= max((len(escaped) - longest) // 5, 1)  # an entity has at most five characters
    return escaped


def _send(notice: Notice, address: str) -> Sent:
    return post(address, {}, json.dumps(payload_of(notice)).encode(), _MEANINGS)


def _entities(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _link(name: str, address: str) -> str:
    name, address = escape(one_line(name).replace("|", "/"), 200), one_line(address)
    if not is_address(address):
        return f"{name}: {escape(address, 500)}"
    for character in '<>|" ':
        address = address.replace(character, f"%{ord(character):02X}")
    return f"<{_entities(address)}|{name}>"


def _fitting(links: list[str], longest: int) -> str:
    """Return as many whole links as fit, one a line."""
    kept: list[str] = []
    for link in links:
        if len("\n".join([*kept, link])) <= longest:
            kept.append(link)
    return "\n".join(kept)


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}

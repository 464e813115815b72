"""E-mail: plain text with a simple HTML form, over SMTP."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP as MAIL_POLICY
from email.utils import formatdate
from functools import partial
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

import aiosmtplib
from jinja2 import Environment

from lastaisle.delivery.notice import Notice, digest_of, is_address, one_line
from lastaisle.delivery.sent import Sent, cause_of

TIMEOUT_SECONDS: Final = 20.0
"""The longest time from the first connection to the end: a mail server checks each recipient."""
LOCAL_SERVER: Final = "smtp+plain://localhost:25"
"""The mail server of this machine, for a channel that names none."""

_PORTS: Final = {"smtp": 587, "smtps": 465, "smtp+plain": 25}
_THIS_MACHINE: Final = ("127.0.0.1", "::1", "localhost")
_NOT_OFFERED: Final = (aiosmtplib.SMTPNotSupported, aiosmtplib.SMTPException)
_HTML: Final = Environment(autoescape=True).from_string(
    """\
<html><body style="font-family: sans-serif">
<h2 style="font-size: 1.1em">{{ notice.line }}</h2>
<p style="white-space: pre-line">{{ notice.body }}</p>
{% if links %}<ul>
{% for name, address, is_web in links %}<li>
{%- if is_web %}<a href="{{ address }}">{{ name }}</a>{% else %}{{ name }}: {{ address }}{% endif -%}
</li>
{% endfor %}</ul>{% endif %}
</body></html>
"""
)


@dataclass(frozen=True)
class MailServer:
    """How to reach a mail server.

    Attributes:
        scheme: smtp encrypts by STARTTLS, smtps from the first byte, smtp+plain not at all.
        host: the name of the machine.
        port: the port.
        user: the name to log in with; empty for no login.
        password: the password.
        sender: the address that messages come from; empty where the channel names it.
    """

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    sender: str = ""


def server_of(address: str) -> MailServer:
    """Return the server of an address such as smtp://user:password@mail.shop.example:587?from=a@shop.example.

    Raises:
        ValueError: this is no address of a mail server; the message does not hold the address.
    """
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise ValueError("is no address") from None
    scheme, host = parts.scheme, parts.hostname or ""
    if scheme not in ("smtp", "smtps", "smtp+plain"):
        raise ValueError("should begin with smtp://, smtps:// or smtp+plain://")
    if not host or one_line(address) != address or " " in address:
        raise ValueError("has no name of a machine, or a space")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if bool(user) != bool(password):
        raise ValueError("should have a user name with a password, or neither; write %40 for @ inside them")
    if user and scheme == "smtp+plain" and host not in _THIS_MACHINE:
        raise ValueError("would send a password without encryption: use smtp:// or smtps://")
    if parts.path not in ("", "/") or parts.fragment:
        raise ValueError("has a path; write %2F and %23 for / and # inside a password")
    sender = parse_qs(parts.query).get("from", [""])[-1]
    if sender and not is_mail_address(sender):
        raise ValueError("names a sender that is no mail address")
    return MailServer(scheme, host, port or _PORTS[scheme], user, password, sender)


def is_mail_address(address: str) -> bool:
    """Tell whether messages can go to an address: one @, no space, ASCII only."""
    return re.fullmatch(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+", address) is not None


def mail(server: MailServer, sender: str, recipients: Sequence[str]) -> Callable[[Notice], Sent]:
    """Return the function that sends a notice to some recipients.

    Args:
        server: the mail server.
        sender: the address that the messages come from; empty for that of the server, or else for
            lastaisle@<the name of this machine>.
        recipients: the addresses of people.
    """
    sender = sender or server.sender or f"lastaisle@{socket.getfqdn()}"
    return partial(_send, server=server, sender=sender, recipients=recipients)


def message_of(notice: Notice, sender: str, recipients: Sequence[str]) -> EmailMessage:
    """Return the message.

    All messages about one alert refer to one id, by which mail programs put them into one thread.
    """
    domain = sender.rpartition("@")[2]
    thread = f"<{digest_of(notice.key)}.alert@{domain}>"
    message = EmailMessage(policy=MAIL_POLICY)
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Subject"] = notice.line
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{digest_of(notice.id)}@{domain}>"
    message["References"] = thread
    message["In-Reply-To"] = thread
    message["Auto-Submitted"] = "auto-generated"  # so that no answer says that a person is on holiday
    message["X-Auto-Response-Suppress"] = "All"
    links = [(one_line(name), one_line(address), is_address(address)) for name, address in notice.links]
    lines = [notice.line, "", notice.body, "", *(f"{name}: {address}" for name, address, _ in links)]
    message.set_content("\n".join(lines).strip() + "\n")
    message.add_alternative(_HTML.render(notice=notice, links=links), subtype="html")
    return message


def _send(notice: Notice, server: MailServer, sender: str, recipients: Sequence[str]) -> Sent:
    message = message_of(notice, sender, recipients)
    try:
        refused = asyncio.run(_deliver(message, server, sender, recipients))
    except (aiosmtplib.SMTPException, OSError) as error:
        return _failed(error)
    if not refused:
        return Sent()
    places = ", ".join(str(number) for number, one in enumerate(recipients, start=1) if one in refused)
    return Sent(remark=f"it refused recipient {places} of {len(recipients)}")


def _failed(error: Exception) -> Sent:
    """Say why a message did not arrive, without the server's words: they may hold an address."""
    match error:
        case TimeoutError() | aiosmtplib.SMTPTimeoutError():
            return Sent(f"it gave no answer within {TIMEOUT_SECONDS:g} seconds", answered=False)
        case aiosmtplib.SMTPRecipientsRefused():
            problem = "it refused every recipient"
        case aiosmtplib.SMTPAuthenticationError(code=code):
            problem = f"it refused the login ({code})"
        case aiosmtplib.SMTPResponseException(code=code) if code > 0:
            problem = f"it answered {code}"
        case _ if type(error) in _NOT_OFFERED:
            problem = "it offers no STARTTLS, or no login: see the scheme of its address"
        case _:
            return Sent(f"it cannot be reached ({cause_of(error)})", answered=False)
    return Sent(problem)


async def _deliver(
    message: EmailMessage, server: MailServer, sender: str, recipients: Sequence[str]
) -> set[str]:
    """Send the message; return the recipients that the server refused."""
    # The certificate is verified, against SSL_CERT_FILE where that is set.
    context = None if server.scheme == "smtp+plain" else ssl.create_default_context()
    async with asyncio.timeout(TIMEOUT_SECONDS):
        refused, _ = await aiosmtplib.send(
            message,
            sender=sender,
            recipients=list(recipients),
            hostname=server.host,
            port=server.port,
            username=server.user or None,
            password=server.password or None,
            use_tls=server.scheme == "smtps",
            start_tls=server.scheme == "smtp",
            tls_context=context,
            timeout=TIMEOUT_SECONDS,
        )
    return set(refused)

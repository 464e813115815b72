"""A real mail server on 127.0.0.1 that keeps what it gets."""

from __future__ import annotations

import asyncio
import email
import ssl
import threading
from email.message import EmailMessage
from email.policy import default as mail_policy
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword

USER, PASSWORD = "alerts@shop.example", "p@ss:word/1"
#: A part of each refusal that no log, table or error may hold.
ANSWERED = "the-mail-server-says-this"


class Mailbox:
    """A mail server.

    Args:
        keystore: the file of a private key and a certificate; the server then offers STARTTLS.
        is_encrypted: whether it speaks TLS from the first byte.
        needs_login: whether it takes messages only after a login.
        refuses: the recipients that it refuses.
        data_answer: how it answers each message.
        is_silent: whether it accepts connections and then says nothing.
    """

    def __init__(
        self,
        *,
        keystore: Path | None = None,
        is_encrypted: bool = False,
        needs_login: bool = False,
        refuses: tuple[str, ...] = (),
        data_answer: str = "250 OK",
        is_silent: bool = False,
    ) -> None:
        self.got: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.logins: list[str] = []
        self._refuses, self._data_answer = refuses, data_answer
        self._silent = is_silent
        context = None
        if keystore is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(keystore)
        self._options = {
            "tls_context": None if is_encrypted else context,
            "require_starttls": context is not None and not is_encrypted,
            "auth_required": needs_login,
            "auth_require_tls": context is not None and not is_encrypted,
            "authenticator": self._login if needs_login else None,
        }
        self._encryption = context if is_encrypted else None
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            self._loop.create_server(self._protocol, "127.0.0.1", 0, ssl=self._encryption)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()

    def _protocol(self) -> asyncio.Protocol:
        if self._silent:
            return asyncio.Protocol()
        return SMTP(self, hostname="mail.shop.example", loop=self._loop, **self._options)

    def _login(self, server, session, envelope, mechanism, data) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login.decode())
        is_known = (data.login.decode(), data.password.decode()) == (USER, PASSWORD)
        return AuthResult(success=is_known, handled=is_known)

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802
        if address in self._refuses:
            return f"550 {ANSWERED} {address}"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        if self._data_answer.startswith("250"):
            self.envelopes.append(envelope)
            self.got.append(email.message_from_bytes(envelope.content, policy=mail_policy))
        return self._data_answer

    def address(self, scheme: str = "smtp+plain", login: str = "") -> str:
        return f"{scheme}://{login}127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

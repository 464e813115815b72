"""Real services that get webhooks, on 127.0.0.1."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

KEY = bytes(range(32))
SECRET = f"whsec_{base64.b64encode(KEY).decode()}"
#: A part of an answer's body that no log, table or error may hold.
ANSWERED = "the-receiver-says-this"
TOKEN = "a-token-of-the-address"
HANG, CLOSE = 0, -1


class Receiver:
    """A service that answers each request with the next status, and at the end always with the last.

    Args:
        statuses: the statuses; HANG holds the request without an answer, CLOSE ends the connection.
        retry_after: the header Retry-After of each answer.
        location: the address of a redirect.
        keystore: the file of a private key and a certificate; the service then speaks https.
    """

    def __init__(
        self, *statuses: int, location: str = "", keystore: Path | None = None, retry_after: str = ""
    ) -> None:
        self.got: list[dict] = []
        self._statuses = list(statuses) or [200]
        self._released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.got.append({"headers": dict(self.headers), "body": body, "path": self.path})
                left = receiver._statuses
                status = left.pop(0) if len(left) > 1 else left[0]
                if status == HANG:
                    receiver._released.wait(30)
                    return
                if status == CLOSE:
                    self.close_connection = True
                    return
                self.send_response(status)
                if retry_after:
                    self.send_header("Retry-After", retry_after)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", str(len(ANSWERED)))
                self.end_headers()
                self.wfile.write(ANSWERED.encode())

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._scheme = "http" if keystore is None else "https"
        if keystore is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(keystore)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}/hooks?token={TOKEN}"

    @property
    def base_url(self) -> str:
        return self.address.partition("/hooks")[0]

    def bodies(self) -> list[dict]:
        return [json.loads(one["body"]) for one in self.got]

    def types(self) -> list[str]:
        return [json.loads(one["body"])["type"] for one in self.got]

    def ids(self) -> list[str]:
        return [one["headers"]["webhook-id"] for one in self.got]

    def stop(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()


def is_signed(headers: dict[str, str], body: bytes, keys: Iterable[bytes] = (KEY,)) -> bool:
    """Verify a message as the specification of Standard Webhooks says, without the code of the sender."""
    content = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    given = {text.split(",", 1)[1] for text in headers["webhook-signature"].split(" ")}
    return all(
        base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() in given for key in keys
    )

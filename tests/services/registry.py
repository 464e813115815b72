"""A small schema registry: the part of Confluent's REST API that serializers and readers call."""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit


class Registry(ThreadingHTTPServer):
    """Holds schemas in memory.

    Attributes:
        texts: by subject, the text to answer instead of the registered text, as a registry does that shows
            a Protobuf file that was registered in its binary form.
        questions: the paths of all GET requests so far.
        user: the user and the password that it asks for, as "user:password"; empty if it asks for none.
        has_guids: whether it knows the path of GUIDs; older registries and other makers' registries do not.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.schemas: list[dict[str, Any]] = []
        self.texts: dict[str, str] = {}
        self.questions: list[str] = []
        self.user = ""
        self.has_guids = True

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def register(self, subject: str, given: dict[str, Any]) -> dict[str, Any]:
        """Store a schema, or find the stored one; return it with its id, GUID and version."""
        stored = {
            "subject": subject,
            "schema": given["schema"],
            "schemaType": given.get("schemaType") or "AVRO",
            "references": given.get("references") or [],
        }
        for schema in self.schemas:
            if stored.items() <= schema.items():
                return schema
        number = 100 + len(self.schemas)
        version = 1 + sum(schema["subject"] == subject for schema in self.schemas)
        guid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"schema {number}"))
        self.schemas.append(stored | {"id": number, "guid": guid, "version": version})
        return self.schemas[-1]

    def answer(self, path: list[str]) -> dict[str, Any] | None:
        """Return the schema at a path of the API."""
        for schema in self.schemas:
            shown = schema | {"schema": self.texts.get(schema["subject"], schema["schema"])}
            if path in (
                ["schemas", "ids", str(schema["id"])],
                ["schemas", "guids", schema["guid"]],
                ["subjects", schema["subject"], "versions", str(schema["version"])],
            ):
                return shown
        return None


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        self.server.questions.append(self.path)
        if self.server.user:
            expected = "Basic " + base64.b64encode(self.server.user.encode()).decode()
            if self.headers["Authorization"] != expected:
                return self._send(401, {"error_code": 401, "message": "Unauthorized"})
        path = self._path()
        found = self.server.answer(path)
        if found is not None:
            return self._send(200, found)
        if path == ["schemas", "types"]:
            return self._send(200, ["AVRO", "JSON", "PROTOBUF"])
        if path[:2] == ["schemas", "guids"] and not self.server.has_guids:
            return self._send(404, {})
        if path[0] not in ("schemas", "subjects"):
            return self._send(404, {"error_code": 404, "message": "HTTP 404 Not Found"})
        return self._send(404, {"error_code": 40403, "message": "Schema not found"})

    def do_POST(self) -> None:
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._send(200, self.server.register(self._path()[1], given))

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _path(self) -> list[str]:
        return [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]

    def _send(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serve_registry() -> Iterator[Registry]:
    """Serve an empty registry until the block ends."""
    with Registry() as registry:
        thread = threading.Thread(target=registry.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield registry
        finally:
            registry.shutdown()
            thread.join()

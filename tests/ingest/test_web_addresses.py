"""Files at addresses of the web: errors are told as they are, and without passwords."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from lastaisle.errors import SourceError
from lastaisle.ingest.reading.files import list_files


class _Answers(BaseHTTPRequestHandler):
    """Answers with the status that the path names."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(int(self.path[1:4]))
        self.send_header("Content-Length", "5")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(b"id\n1\n")

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """The host and the port of a server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("query", ["", "?shop=1", "?ids[]=*"])
def test_a_query_is_part_of_the_address_and_no_pattern(server, query):
    files = list_files(f"http://anna:s3cret@{server}/200.csv{query}").files
    assert [file.shown for file in files] == [f"http://anna:***@{server}/200.csv{query}"]


@pytest.mark.parametrize("query", ["", "?shop=1"])
@pytest.mark.parametrize(("status", "why"), [(401, "Unauthorized"), (503, "Unavailable")])
def test_the_answer_of_a_server_is_told_without_the_password(server, status, why, query):
    with pytest.raises(SourceError, match=why) as error:
        list_files(f"http://anna:s3cret@{server}/{status}.csv{query}")
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("address", ["127.0.0.1:1/a.csv?b=1", "127.0.0.1:1/a.csv", "[::1"])
def test_a_server_that_cannot_be_reached_is_no_missing_file(address):
    with pytest.raises(SourceError, match=r"Cannot connect|Invalid IPv6") as error:
        list_files(f"http://anna:s3cret@{address}")
    assert "s3cret" not in str(error.value)

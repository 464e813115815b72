"""Idle and slow senders shut out nobody: an honest sender is answered at once, whatever others leave open."""

from __future__ import annotations

import base64
import json
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from lastaisle.web.connections import HEAD_BYTES, HEAD_SECONDS
from tests.services.waiting import wait_until

TRACK = {"type": "track", "event": "Cart Viewed", "userId": "u1", "messageId": "m1"}
KEY = base64.b64encode(b"shop-web:").decode()
POST = "POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
FORGED = f"POST /segment/webhook HTTP/1.1\r\nHost: x\r\nX-Signature: {'a' * 40}\r\nContent-Length: 100\r\n"
CROWDS = {
    "idle": "",
    "half a request line": "POST /v1/tr",
    "half the headers": POST,
    "half a header": POST + "Authorization: Basic " + "a" * 4000,
    "one byte of a body without a key": POST + "\r\n{",
    "one byte of a body with a wrong key": POST + "Authorization: Basic eDo=\r\n\r\n{",
    "one byte of a body with the public key": POST + f"Authorization: Basic {KEY}\r\n\r\n{{",
    "one byte of a forged webhook": FORGED + "\r\n{",
    "one byte of measurements": POST.replace("track", "m") + "\r\n{",
    "one byte of a chunk": "POST /v1/t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1",
}


@pytest.fixture(scope="module", autouse=True)
def many_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, before[1]), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@contextmanager
def crowd(collector, size, sent) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        sockets = []
        for _ in range(size):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", collector.port), 10))
            with suppress(ConnectionError):
                connection.sendall(sent.encode())
            sockets.append(connection)
        yield sockets


def answer_of(connection, seconds=10.0) -> bytes:
    connection.settimeout(seconds)
    answer = b""
    try:
        while part := connection.recv(65536):
            answer += part
    except ConnectionError:
        pass
    return answer


@pytest.mark.parametrize("what", CROWDS)
def test_a_crowd_shuts_out_nobody(standing, what):
    with crowd(standing, 1200, CROWDS[what]):
        for path, body, key in (
            ("/v1/track", TRACK, "shop-web"),
            ("/v1/t", {**TRACK, "writeKey": "shop-web"}, None),
        ):
            for _ in range(3):
                started = time.monotonic()
                assert standing.post(path, body, key=key).status == 200
                assert time.monotonic() - started < HEAD_SECONDS, "it waited until the crowd was sent away"
    assert "Traceback" not in standing.log.read_text()


def test_more_connections_than_are_allowed_end_the_oldest_idle_ones(make_collector):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    collector = make_collector(files=400)
    with crowd(collector, 300, "") as sockets:
        started = time.monotonic()
        assert collector.post("/v1/track", TRACK).status == 200
        assert time.monotonic() - started < HEAD_SECONDS, "it waited until the crowd was sent away"
        assert answer_of(sockets[0], 1) == b""
    assert hard >= 400
    assert 'reason="connection_idle"' in collector.send("GET", "/metrics").text


def send_until_nobody_reads(sender, requests):
    unsent, until = memoryview(requests), time.monotonic() + 1
    sender.setblocking(False)
    while unsent and time.monotonic() < until:
        try:
            unsent = unsent[sender.send(unsent) :]
            until = time.monotonic() + 1
        except BlockingIOError:
            time.sleep(0.01)
    assert unsent


def test_a_head_has_a_deadline_however_slowly_it_drips(standing):
    with socket.create_connection(("127.0.0.1", standing.port)) as slow:
        started = time.monotonic()
        slow.settimeout(0.5)
        ended, line = False, b"GET /v1/track HTTP/1.1\r\n"
        while not ended and time.monotonic() - started < 3 * HEAD_SECONDS:
            try:
                slow.sendall(line)
                line = b"X: y\r\n"
                ended = slow.recv(100) == b""
            except TimeoutError:
                pass
            except ConnectionError:
                ended = True
        assert HEAD_SECONDS - 1 < time.monotonic() - started < HEAD_SECONDS + 3


def test_a_sender_that_reads_no_answer_is_ended(standing):
    with socket.socket() as deaf:
        for buffer in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            deaf.setsockopt(socket.SOL_SOCKET, buffer, 4096)
        deaf.connect(("127.0.0.1", standing.port))
        send_until_nobody_reads(deaf, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 1_500_000)
        time.sleep(HEAD_SECONDS + 1)
        deaf.setblocking(True)
        assert answer_of(deaf).startswith(b"HTTP/1.1 401 Unauthorized")
        with pytest.raises(ConnectionError):
            for _ in range(100):
                deaf.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                time.sleep(0.01)


@pytest.mark.parametrize(
    "head",
    [
        f"X: {'a' * (64 << 20)}\r\n\r\n",
        f"X: {'a' * HEAD_BYTES}\r\n\r\n",
        "X: y\r\n" * 4000 + "\r\n",
        "".join(f"X{number}: y\r\n" for number in range(200_000)),
    ],
    ids=["64 MiB", "one header", "many headers", "no end"],
)
def test_a_head_that_is_too_large_is_refused(standing, head):
    with socket.create_connection(("127.0.0.1", standing.port)) as sender:
        sender.settimeout(30)
        with suppress(ConnectionError):
            sender.sendall(f"GET /healthz HTTP/1.1\r\nHost: x\r\n{head}".encode())
        assert answer_of(sender).startswith(b"HTTP/1.1 431 ")
    assert standing.post("/v1/track", TRACK).status == 200


def test_a_path_that_is_too_long_is_refused(standing):
    with socket.create_connection(("127.0.0.1", standing.port)) as sender:
        sender.sendall(f"GET /{'a' * 2 * HEAD_BYTES} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert answer_of(sender).startswith(b"HTTP/1.1 431 ")


def test_trailers_behind_a_body_do_not_fill_the_memory(standing):
    with socket.create_connection(("127.0.0.1", standing.port)) as sender:
        sender.settimeout(30)
        sender.sendall(
            f"POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {KEY}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n0\r\n".encode()
        )
        try:
            for _ in range(1000):
                sender.sendall(b"X: y\r\n" * 10_000)
        except ConnectionError:
            return
        raise AssertionError("60 MB of trailers were read")


def test_requests_that_are_sent_at_once_are_answered_in_their_order(standing):
    body = json.dumps(TRACK)
    head = f"POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {KEY}\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n{body}"
    last = f"{head}Connection: close\r\nContent-Length: 1\r\n\r\n{{"
    with socket.create_connection(("127.0.0.1", standing.port)) as sender:
        sender.sendall((request * 20 + last).encode())
        answer = answer_of(sender)
    assert answer.count(b"HTTP/1.1 200 OK") == 20
    assert answer.rpartition(b"HTTP/1.1 ")[2].startswith(b"400 ")


def test_a_connection_can_be_used_again_and_again(standing):
    body = json.dumps(TRACK)
    head = f"POST /v1/track HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {KEY}\r\n"
    with socket.create_connection(("127.0.0.1", standing.port)) as sender:
        sender.settimeout(10)
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(50):
            sender.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode())
            sender.sendall(body.encode())
            answer = b""
            while not answer.endswith(b'{"success":true}'):
                answer += sender.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200 OK")


def test_the_sender_of_a_slow_body_is_told_so_when_others_need_its_place(standing):
    with crowd(standing, 1, POST + "\r\n{") as (slow,), crowd(standing, 64, POST + "\r\n{"):
        wait_until("the place is taken", lambda: b"408" in answer_of_now(slow))


def answer_of_now(connection) -> bytes:
    connection.settimeout(0.2)
    try:
        return connection.recv(4096)
    except TimeoutError:
        return b""

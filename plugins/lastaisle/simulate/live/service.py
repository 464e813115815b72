"""The client of the service that the simulated shop asks: kept connections, a bound, and retries."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import httpx

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.simulate.options import ShopOptionsError
from lastaisle.telemetry.shown import one_line, without_password

KEY_VARIABLE: Final = "LASTAISLE_SERVE_KEY"
"""The environment variable of the key."""
FAILED_IN_A_ROW: Final = 10
"""So many failed requests without a good one between them end a day."""
_KEPT_SECONDS: Final = 2.0  # uvicorn closes idle connections after 5 s
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0
_ASK: Final = "/v1/recommendations"
_TELL: Final = "/v1/feedback"
_MODEL: Final = "/v1/model"

_Read = TypeVar("_Read")


class LiveServiceError(LastaisleError):
    """The service does not answer, or answers something that is no list."""

    exit_code = ExitCode.SERVICE_DOWN


class LiveKeyError(LastaisleError):
    """The service refuses the key."""

    exit_code = ExitCode.WRONG_REQUEST


def read_key(environ: Mapping[str, str], file: Path | None = None) -> str:
    """Return the key with which the shop calls the service.

    Args:
        environ: the environment, whose LASTAISLE_SERVE_KEY is the key if there is no file.
        file: a file of keys like that of the service; its first key is taken.

    Raises:
        LiveKeyError: there is no key, or the file cannot be read.
    """
    if file is None:
        lines = [environ.get(KEY_VARIABLE, "")]
    else:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise LiveKeyError(f"cannot read the file of keys {file}: {error}") from error
    keys = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if not keys:
        raise LiveKeyError(
            f"there is no key to call the service with: set {KEY_VARIABLE} to one of its "
            "LASTAISLE_SERVE_KEYS, or name a file with a key by --key-file"
        )
    return keys[0]


@dataclass(frozen=True)
class _Failure:
    """Why a request has no good answer after all its tries.

    Attributes:
        message: the reason in words.
        is_refusal: whether the service refused the request; else it did not answer, or not well.
    """

    message: str
    is_refusal: bool = False


@dataclass(frozen=True)
class ListOfItems:
    """A list that the service made.

    Attributes:
        recommendation_id: its id, for feedback.
        version: the version that made it.
        policy: the policy that made it.
        items: the ids, best first.
        experiment: the experiment, bandit or canary that the service made the list for; empty for none.
        arm: the arm of it.
    """

    recommendation_id: str
    version: str
    policy: str
    items: tuple[str, ...]
    experiment: str = ""
    arm: str = ""


@dataclass(frozen=True)
class LiveService:
    """The address of a service, and how it is asked.

    Attributes:
        url: the address, such as http://127.0.0.1:8091.
        key: a key of the service.
        in_flight: the most requests at the same time.
        timeout_seconds: how long one try waits for its answer.
        retry_seconds: how long a request is tried again after 503, another error of the service, or no
            answer.
        transport: replaces the network, in tests.
    """

    url: str
    key: str = field(repr=False)
    in_flight: int = 16
    timeout_seconds: float = 10.0
    retry_seconds: float = 30.0
    transport: httpx.AsyncBaseTransport | None = None

    def __post_init__(self) -> None:
        if not _is_address(self.url):
            raise ShopOptionsError(
                f"{without_password(self.url)!r} is no address of a service: expected one such as "
                "http://127.0.0.1:8091, without a user"
            )
        if not self.key.strip() or not self.key.isascii() or not self.key.isprintable():
            raise LiveKeyError(
                "the key of the service is empty or holds signs that a header cannot carry: give one of its "
                "LASTAISLE_SERVE_KEYS"
            )

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Connection]:
        """Open the connections, and make sure that the service answers and knows the key.

        Raises:
            LiveServiceError: the service does not answer, or serves no version yet.
            LiveKeyError: the service refuses the key.
        """
        limits = httpx.Limits(
            max_connections=self.in_flight,
            max_keepalive_connections=self.in_flight,
            keepalive_expiry=_KEPT_SECONDS,
        )
        headers = {"Authorization": f"Bearer {self.key.strip()}"}
        async with httpx.AsyncClient(
            base_url=self.url,
            headers=headers,
            timeout=self.timeout_seconds,
            limits=limits,
            transport=self.transport,
            trust_env=False,
        ) as client:
            connection = Connection(self, client)
            await connection.check()
            yield connection


class Connection:
    """Open connections to a service.

    Attributes:
        counts: counts of `requests`, `retries`, `failed` (no good answer after all tries) and `refused` (the
            status of a wrong request).
        problem: the last thing that went wrong, in words; empty if nothing did.
    """

    def __init__(self, service: LiveService, client: httpx.AsyncClient) -> None:
        self.counts: Counter[str] = Counter(requests=0, retries=0, failed=0, refused=0)
        self.problem = ""
        self._service = service
        self._client = client
        self._places = asyncio.Semaphore(service.in_flight)
        self._failed_in_a_row = 0

    async def check(self) -> None:
        """Make sure that the service answers and knows the key.

        Raises:
            LiveServiceError: it does not answer, or has no version to serve.
            LiveKeyError: it refuses the key.
        """
        failure = await self._request("GET", _MODEL)
        if isinstance(failure, _Failure):
            raise LiveServiceError(
                f"the service at {self._service.url} does not answer as a service of Lastaisle: "
                f"{failure.message}. Start it by `lastaisle serve`, or correct the address"
            )

    async def ask(self, question: Mapping[str, Any]) -> ListOfItems | None:
        """Return the list that answers a question; None if the service gave none after all tries.

        Raises:
            LiveServiceError: many requests in a row failed.
            LiveKeyError: the service refuses the key.
        """
        return await self._counted(_ASK, question, _list_of)

    async def tell(self, feedback: Sequence[Mapping[str, Any]]) -> int | None:
        """Send feedback; return how many rows the service stored, or None if it took none after all tries.

        Feedback that is tried again has the same moment, so that its rows have the same ids.

        Raises:
            LiveServiceError: many requests in a row failed.
            LiveKeyError: the service refuses the key.
        """
        return await self._counted(_TELL, list(feedback), _stored_of)

    async def _counted(self, path: str, body: Any, read: Callable[[bytes], _Read | _Failure]) -> _Read | None:
        """Return what `read` finds in the answer; None for a failed request."""
        told = await self._request("POST", path, json.dumps(body).encode())
        answer = told if isinstance(told, _Failure) else read(told)
        if not isinstance(answer, _Failure):
            self._failed_in_a_row = 0
            return answer
        self.problem = answer.message
        self.counts["refused" if answer.is_refusal else "failed"] += 1
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= FAILED_IN_A_ROW:
            raise LiveServiceError(
                f"the service at {self._service.url} failed {FAILED_IN_A_ROW} requests in a row; the last: "
                f"{answer.message}. Look at its log, and start the day again"
            )
        return None

    async def _request(self, method: str, path: str, content: bytes | None = None) -> bytes | _Failure:
        """Return the body of an answer with the status 200; try again while the service is busy or away."""
        self.counts["requests"] += 1
        ends, pause = time.monotonic() + self._service.retry_seconds, _FIRST_PAUSE
        while True:
            status, told, wait = await self._try(method, path, content)
            if status == httpx.codes.OK:
                return told
            if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
                raise LiveKeyError(
                    f"the service at {self._service.url} refuses the key ({status}): {_message(told)}. Set "
                    f"{KEY_VARIABLE} to one of its LASTAISLE_SERVE_KEYS"
                )
            is_refusal = httpx.codes.is_client_error(status) and status != httpx.codes.TOO_MANY_REQUESTS
            pause = max(pause, wait)
            if is_refusal or time.monotonic() + pause > ends:
                return _Failure(f"{method} {path}: {status or 'no answer:'} {_message(told)}", is_refusal)
            self.counts["retries"] += 1
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _try(self, method: str, path: str, content: bytes | None) -> tuple[int, bytes, float]:
        """Return the status (0 without an answer), the body or the error, and how long to wait at least."""
        try:
            async with self._places:
                answer = await self._client.request(method, path, content=content)
        except httpx.HTTPError as error:
            return 0, f"{type(error).__name__} {error}".strip().encode(), 0.0
        wait = answer.headers.get("retry-after", "")
        return (
            answer.status_code,
            answer.content,
            min(float(wait), _LONGEST_PAUSE) if wait.isdecimal() else 0.0,
        )


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https")
            and bool(re.fullmatch(r"[\w.:%-]+", parts.hostname or ""))
            and parts.username is None
            and parts.port != 0
        )
    except ValueError:
        return False


def _message(body: bytes) -> str:
    """Return the message of a refusal, or the beginning of another answer."""
    try:
        told = json.loads(body)
        text = told["message"]
    except (ValueError, TypeError, KeyError):
        text = body.decode("utf-8", "replace")
    return one_line(str(text)[:300])


def _list_of(body: bytes) -> ListOfItems | _Failure:
    try:
        told = json.loads(body)
        items = tuple(str(item["id"]) for item in told["items"])
        return ListOfItems(
            recommendation_id=str(told["recommendation_id"]),
            version=str(told["version"]),
            policy=str(told["policy"]),
            items=items,
            experiment=str(told.get("experiment") or ""),
            arm=str(told.get("arm") or ""),
        )
    except (ValueError, TypeError, KeyError):
        return _Failure(f"POST {_ASK}: the answer is no list: {_message(body)}")


def _stored_of(body: bytes) -> int | _Failure:
    try:
        return int(json.loads(body)["stored"])
    except (ValueError, TypeError, KeyError):
        return _Failure(f"POST {_TELL}: the answer has no count of stored rows: {_message(body)}")

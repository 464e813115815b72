"""A service of a few lines for the live shop, with no network: it lists what a function says."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from lastaisle.simulate.live import LiveService

KEY = "a-key"


class FakeService:
    """Answers as the service does, and keeps all that it was asked and told.

    Args:
        list_of: returns the ids that answer a question.
        arm_of: returns the arm of the service's experiment `of-service`; by default there is none.

    Attributes:
        replies: functions that may answer a request instead; each is asked first.
    """

    def __init__(
        self,
        list_of: Callable[[dict[str, Any]], Sequence[str]],
        arm_of: Callable[[dict[str, Any]], str] = lambda _: "",
    ) -> None:
        self.list_of = list_of
        self.arm_of = arm_of
        self.questions: list[dict[str, Any]] = []
        self.feedback: list[dict[str, Any]] = []
        self.replies: list[Callable[[httpx.Request], httpx.Response | None]] = []

    def client(self, **options: Any) -> LiveService:
        return LiveService("http://service.test", KEY, transport=httpx.MockTransport(self.answer), **options)

    def rows(self, kind: str) -> list[tuple[str, int, dict[str, Any]]]:
        """The stored rows of a kind: id of the list, position, and the feedback."""
        return [
            (told["recommendation_id"], position, told)
            for told in self.feedback
            if told["kind"] == kind and self._is_kept(told)
            for position in told["positions"]
        ]

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        for reply in self.replies:
            if (answer := reply(request)) is not None:
                return answer
        if request.headers["authorization"] != f"Bearer {KEY}":
            return httpx.Response(401, json={"code": "unauthorized", "message": "give a known key"})
        if request.url.path == "/v1/model":
            return httpx.Response(200, json={"version": "7"})
        body = json.loads(request.content)
        if request.url.path == "/v1/recommendations":
            return httpx.Response(200, json=self._list(body))
        assert request.url.path == "/v1/feedback"
        self.feedback += body
        stored = sum(len(told["items"]) for told in body if self._is_kept(told))
        return httpx.Response(200, json={"stored": stored})

    def _list(self, question: dict[str, Any]) -> dict[str, Any]:
        self.questions.append(question)
        items = list(self.list_of(question))[: question["k"]]
        letter = "m" if question["consent"] else "n"
        arm = self.arm_of(question)
        return {
            "recommendation_id": f"7-{letter}-{len(self.questions):024x}",
            "version": "7",
            "policy": question.get("policy", "model"),
            "items": [{"id": item, "score": 1.0, "reason": "model"} for item in items],
            **({"experiment": "of-service", "arm": arm} if arm else {}),
        }

    @staticmethod
    def _is_kept(told: dict[str, Any]) -> bool:
        return told["consent"] and "-n-" not in told["recommendation_id"]

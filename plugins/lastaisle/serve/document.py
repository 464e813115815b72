"""The OpenAPI document of the service, made of the types that decode its requests."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from lastaisle.serve.consents.body import ConsentBody, Recorded
from lastaisle.serve.feedback_body import Feedback, FeedbackBody, Stored
from lastaisle.serve.questions import (
    Answer,
    Carried,
    Found,
    Question,
    Recommended,
    Refusal,
    Served,
    Why,
)

_REF: Final = "#/components/schemas/{name}"
_KEYED: Final[list[Any]] = [{"bearer": []}, {"header": []}]
_WORDS: Final = {
    400: "The body is not JSON, or damaged.",
    401: "The key is missing or unknown.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is packed in an unknown way.",
    422: "A field is unknown, or its value is wrong; the message names it.",
    503: "The service cannot answer now; try again after the seconds in Retry-After.",
}
_OPT_OUT: Final = (
    {
        "name": "Sec-GPC",
        "in": "header",
        "description": "1 is the Global Privacy Control of the shopper's browser; the request counts as one "
        "without consent. Another value says nothing.",
        "schema": {"type": "string"},
    },
)
_BODY: Final = (400, 408, 413, 415, 422)


def make_document(version: str) -> dict[str, Any]:
    """Return the document.

    Args:
        version: the version of the service.
    """
    types = (Question, FeedbackBody, ConsentBody, Answer, Stored, Recorded, Served, Refusal, Found)
    _, components = msgspec.json.schema_components(types, ref_template=_REF)
    described = (
        Question,
        Carried,
        Why,
        Recommended,
        Answer,
        Feedback,
        Stored,
        ConsentBody,
        Recorded,
        Refusal,
        Served,
        Found,
    )
    for kind in described:
        _describe(components[kind.__name__], kind)
    feedback, _ = msgspec.json.schema_components([FeedbackBody], ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lastaisle",
            "version": version,
            "description": "Recommendations for the checkout, and feedback on them.",
        },
        "paths": {
            "/v1/recommendations": {
                "post": _operation(
                    "recommend",
                    "Recommend the next items of a session.",
                    Answer,
                    (401, 503, *_BODY),
                    _ref(Question),
                    headers=_OPT_OUT,
                )
            },
            "/v1/feedback": {
                "post": _operation(
                    "give_feedback",
                    "Say what was shown, clicked, added or bought; 200 says that it is durable.",
                    Stored,
                    (401, 503, *_BODY),
                    feedback[0],
                    headers=_OPT_OUT,
                )
            },
            "/v1/consent": {
                "post": _operation(
                    "record_consent",
                    "Record what a shopper decided about purposes; 200 says that it is durable and honoured.",
                    Recorded,
                    (401, 503, *_BODY),
                    _ref(ConsentBody),
                )
            },
            "/v1/model": {"get": _operation("show_model", "Show which version answers.", Served, (401, 503))},
            "/v1/items": {"get": _search()},
            "/metrics": {
                "get": _text_operation("show_metrics", "The metrics, as Prometheus reads them.", _KEYED)
            },
            "/healthz": {"get": _text_operation("show_health", "Tell whether the process works.", [])},
            "/readyz": {
                "get": _text_operation("show_readiness", "Tell whether requests can be answered.", [])
            },
            "/openapi.json": {"get": _document_operation()},
        },
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _operation(
    name: str,
    summary: str,
    answer: Any,
    refusals: tuple[int, ...],
    body: Mapping[str, Any] | None = None,
    *,
    headers: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    operation = {
        "operationId": name,
        "summary": summary,
        "security": _KEYED,
        "responses": {"200": {"description": "Done.", "content": _json(_ref(answer))}, **_refusals(refusals)},
    }
    if body is not None:
        operation["requestBody"] = {"required": True, "content": _json(body)}
    if headers:
        operation["parameters"] = [*headers]
    return operation


def _search() -> dict[str, Any]:
    operation = _operation("find_items", "Find items by words of their titles.", Found, (401, 422, 503))
    listed = {"type": "array", "items": _ref(Found)}
    operation["responses"]["200"] = {"description": "The items.", "content": _json(listed)}
    schema = {"type": "string", "minLength": 1, "maxLength": 200}
    operation["parameters"] = [{"name": "search", "in": "query", "required": True, "schema": schema}]
    return operation


def _text_operation(name: str, summary: str, security: list[Any]) -> dict[str, Any]:
    done = {"description": "Done.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    refusals = _refusals((401,) if security else (503,))
    return {
        "operationId": name,
        "summary": summary,
        "security": security,
        "responses": {"200": done, **refusals},
    }


def _document_operation() -> dict[str, Any]:
    return {
        "operationId": "show_document",
        "summary": "This document.",
        "security": _KEYED,
        "responses": {
            "200": {"description": "The document.", "content": _json({"type": "object"})},
            **_refusals((401,)),
        },
    }


def _refusals(statuses: tuple[int, ...]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status in sorted(statuses):
        responses[str(status)] = {"description": _WORDS[status], "content": _json(_ref(Refusal))}
        if status == 503:
            seconds = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            responses["503"]["headers"] = {"Retry-After": seconds}
    return responses


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(kind: Any) -> dict[str, str]:
    return {"$ref": _REF.format(name=kind.__name__)}


def _describe(schema: dict[str, Any], kind: type) -> None:
    """Move what a docstring says of each attribute to the attribute's schema."""
    summary, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:\n")
    schema["description"] = summary
    for name, text in re.findall(r"^    (\w+): ((?:.+\n?(?:     +.+\n?)*))", attributes, re.MULTILINE):
        described = schema["properties"][name]
        words = " ".join(text.split())
        schema["properties"][name] = {**described, "description": f"{words[:1].upper()}{words[1:]}"}

"""Read a mapping, and check it against the contract; all problems are told at once."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from data_contracts.contract import Contract
from lastaisle.ingest.mapping.check import check_values
from lastaisle.ingest.mapping.compile import compile_adapter
from lastaisle.ingest.mapping.document import FieldSource, Mapping
from lastaisle.ingest.mapping.errors import MappingError
from lastaisle.ingest.mapping.json_path import shorten
from lastaisle.ingest.sources import ADAPTERS, Adapter
from lastaisle.yaml_file import YamlFileError, read_yaml

_OTHER_FORMATS = ("sessions",)  # the format of `lastaisle replay` with sessions of item ids
_KINDS = {"dict_type": "keys and values", "list_type": "a list", "string_type": "a text"}
_FORMS = ("text", "list", "source")


def read_mapping(path: Path | str, contract: Contract) -> Adapter:
    """Return the adapter that a mapping describes.

    Args:
        path: the YAML file.
        contract: the contract of raw_events.

    Raises:
        MappingError: the file cannot be read, or the mapping says something that has no meaning; the error
            names every such place.
    """
    path = Path(path)
    document = _load(path)
    problems = list(_problems(document, contract))
    if problems:
        raise MappingError(path, problems)
    mapping = Mapping.model_validate(document)
    digest = hashlib.sha256(mapping.model_dump_json().encode()).hexdigest()[:16]
    return compile_adapter(mapping, contract, digest)


def _load(path: Path) -> dict[str, Any]:
    try:
        document = read_yaml(path).content
    except YamlFileError as error:
        raise MappingError(path, [(error.where, error.reason)]) from error
    if not isinstance(document, dict):
        kind = "a list" if isinstance(document, list) else "one text" if document else "nothing"
        raise MappingError(path, [("document", f"should hold keys such as name and fields, received {kind}")])
    return document


def _problems(document: dict[str, Any], contract: Contract) -> Iterator[tuple[str, str]]:
    """Yield the place and the reason of every problem."""
    known = {field.name: field for field in contract.fields}
    try:
        Mapping.model_validate(document)
    except ValidationError as error:
        yield from _told(error)
    name = document.get("name")
    if name in (*ADAPTERS, *_OTHER_FORMATS):
        yield "name", f"{name} is the name of a packaged format; choose another name"
    fields = document.get("fields")
    fields = fields if isinstance(fields, dict) else {}
    for unknown in (name for name in fields if name not in known):
        close = difflib.get_close_matches(unknown, known, 1)
        hint = f"; do you mean {close[0]}?" if close else f"; its fields are {', '.join(known)}"
        yield f"fields.{shorten(unknown)}", f"the contract {contract.path.name} has no such field{hint}"
    for field in contract.fields:
        if field.required and field.name != "event_id" and fields and field.name not in fields:
            yield "fields", f"{field.name} is missing; the contract requires it"
    sources = {}
    for name in (name for name in fields if name in known):
        try:
            entry = TypeAdapter(FieldSource).validate_python(fields[name])
        except ValidationError:
            continue
        sources[name] = entry
    yield from check_values(document, sources, contract)


def _told(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Yield the place and the reason of each problem that pydantic found."""
    for problem in error.errors(include_url=False):
        steps = list(problem["loc"])
        if len(steps) > 2 and steps[0] == "fields" and steps[2] in _FORMS:
            del steps[2]
        where = ".".join(shorten(str(step)) for step in steps if step != "[key]")
        reason = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            reason = "there is no such key"
        elif problem["type"] in _KINDS:
            reason = f"should hold {_KINDS[problem['type']]}"
        elif problem["type"] == "missing":
            reason = "is missing"
        elif not isinstance(problem["input"], dict | list) and problem["type"] != "value_error":
            reason = f"{reason}, received {shorten(repr(problem['input']))}"
        yield where or "document", reason

"""Read one ODCS document, and name the exact place of an error in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from open_data_contract_standard.model import CustomProperty, OpenDataContractStandard, SchemaObject

from data_contracts.errors import ContractError

API_VERSION = "v3.1.0"
PACKAGED = Path(__file__).parent


class _StrictLoader(yaml.SafeLoader):
    """A strict YAML loader: only true and false are booleans, times stay text, and a key occurs only once."""


_StrictLoader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool")
        or (tag.endswith("bool") and first in "tTfF")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
    for position, key in enumerate(keys):
        if key in keys[:position]:
            line = node.value[position][0].start_mark.line + 1
            raise yaml.YAMLError(f"the key {key!r} stands twice, again in line {line}")
    return loader.construct_mapping(node, deep=True)


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping)


def find_contract(name_or_path: str | Path) -> Path:
    """Return the file of a packaged contract by its name, or the given path.

    Raises:
        ContractError: there is no such contract; the message names the packaged contracts.
    """
    text = str(name_or_path)
    path = PACKAGED / f"{text}.odcs.yaml" if text.isidentifier() else Path(text)
    if not path.is_file():
        known = ", ".join(sorted(file.name.split(".")[0] for file in PACKAGED.glob("*.odcs.yaml")))
        raise ContractError(path, "file", f"there is no such contract; packaged ones are {known}")
    return path


def read_document(path: Path) -> OpenDataContractStandard:
    """Read a contract that satisfies the JSON schema of the Open Data Contract Standard.

    Raises:
        ContractError: the text is no YAML, or the document breaks the standard.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except UnicodeDecodeError as error:
        raise ContractError(path, f"byte {error.start}", "the file is not UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "document"
        raise ContractError(
            path, where, f"not usable YAML: {getattr(error, 'problem', None) or error}"
        ) from error
    if not isinstance(document, dict):
        raise ContractError(path, "document", f"should be a mapping, received {type(document).__name__}")
    failures = sorted(_validator().iter_errors(document), key=lambda failure: -len(failure.absolute_path))
    if failures:
        deepest = max(_leaves(failures[0]), key=lambda failure: len(failure.absolute_path))
        where = locate(document, deepest.absolute_path)
        raise ContractError(path, where, f"breaks ODCS: {deepest.message[:300]}")
    if document["apiVersion"] != API_VERSION:
        raise ContractError(
            path, "apiVersion", f"should be {API_VERSION}, received {document['apiVersion']!r}"
        )
    return OpenDataContractStandard.model_validate(document)


def only_table(path: Path, document: OpenDataContractStandard) -> SchemaObject:
    """Return the table of a contract.

    Raises:
        ContractError: the contract has no table or several tables, or the table itself has a relationship.
    """
    tables = document.schema_ or []
    if len(tables) != 1:
        raise ContractError(path, "schema", f"should hold exactly one table, received {len(tables)}")
    if tables[0].relationships:
        where = f"schema.{tables[0].name}.relationships"
        raise ContractError(path, where, "put a relationship on the property it starts from")
    return tables[0]


def locate(document: Any, steps: Iterable[str | int]) -> str:
    """Return a path into the document as text, with names instead of list positions where there are names."""
    parts: list[str] = []
    for step in steps:
        document = document[step]
        name = document.get("name", document.get("property")) if isinstance(document, dict) else None
        parts.append(str(name) if isinstance(step, int) and name else str(step))
    return ".".join(parts) or "document"


def custom_values(properties: Iterable[CustomProperty] | None) -> dict[str, Any]:
    """Return ODCS customProperties as a dictionary."""
    return {str(entry.property): entry.value for entry in properties or ()}


def _leaves(failure: jsonschema.ValidationError) -> Iterator[jsonschema.ValidationError]:
    if not failure.context:
        yield failure
    for inner in failure.context or ():
        yield from _leaves(inner)


@cache
def _validator() -> Any:
    schema = json.loads(
        files("open_data_contract_standard").joinpath("schema.json").read_text(encoding="utf-8")
    )
    return jsonschema.Draft201909Validator(schema)

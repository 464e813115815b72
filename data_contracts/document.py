"""Read one ODCS document, and name the exact place of every error in it."""

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
from pydantic import ValidationError

from data_contracts.errors import ContractError, Problems

API_VERSIONS = ("v3.0.0", "v3.0.1", "v3.0.2", "v3.1.0")
PACKAGED = Path(__file__).parent
#: Names that ODCS 3.0 gives to a metric under `rule`, where 3.1 has another name under `metric`.
_OLD_METRICS = {"duplicateCount": "duplicateValues"}


class _StrictLoader(yaml.CSafeLoader):
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


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[Any, Any]:
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
        known = ", ".join(packaged_tables())
        raise ContractError(path, "file", f"there is no such contract; packaged ones are {known}")
    return path


def packaged_tables() -> tuple[str, ...]:
    """Return the names of the tables whose contracts are packaged, which are the tables of the pipeline."""
    return tuple(sorted(file.name.split(".")[0] for file in PACKAGED.glob("*.odcs.yaml")))


def read_document(
    path: Path, problems: Problems | None = None, content: bytes | None = None
) -> OpenDataContractStandard:
    """Read a contract that satisfies the JSON schema of the Open Data Contract Standard.

    Args:
        path: the YAML file.
        problems: collects the errors of a document that can still be compiled in part; without it, they are
            raised.
        content: the content of the file, if it was read already.

    Raises:
        ContractError: the text is no YAML, the document is for another version of ODCS, or it breaks the
            standard so much that nothing in it can be compiled.
    """
    collected = problems or Problems(path)
    content = path.read_bytes() if content is None else content
    document = _read_yaml(path, content)
    collected.content = content
    if document.get("apiVersion") not in API_VERSIONS:
        known = ", ".join(API_VERSIONS)
        received = document.get("apiVersion")
        raise ContractError(path, "apiVersion", f"should be one of {known}; received {received!r}")
    if str(document["apiVersion"]).startswith("v3.0"):
        _name_metrics(document)
    for where, reason in _failures(document).items():
        collected.add_to_document(where, reason)
    if problems is None:
        collected.refuse()
    try:
        return OpenDataContractStandard.model_validate(document)
    except ValidationError:
        collected.refuse()
        raise


def tables_of(path: Path, document: OpenDataContractStandard) -> list[SchemaObject]:
    """Return the tables of a contract, whose names are all different.

    Raises:
        ContractError: the contract has no table, or two tables of one name.
    """
    tables = list(document.schema_ or [])
    names = [str(table.name) for table in tables]
    if not tables:
        raise ContractError(path, "schema", "should hold at least one table, received none")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ContractError(path, "schema", f"the table {twice!r} stands twice")
    return tables


def choose_table(path: Path, document: OpenDataContractStandard, name: str | None = None) -> SchemaObject:
    """Return one table of a contract: by its name, else the only table, else the table named as the file.

    Raises:
        ContractError: there is no such table, or there are several and none has the name of the file; the
            message names all tables.
    """
    tables = {str(table.name): table for table in tables_of(path, document)}
    wanted = name or (next(iter(tables)) if len(tables) == 1 else path.name.split(".")[0])
    if wanted not in tables:
        known = ", ".join(tables)
        if name is not None:
            raise ContractError(path, "schema", f"no table is called {name!r}; there are {known}")
        raise ContractError(path, "schema", f"name one of the {len(tables)} tables {known}")
    return tables[wanted]


def refuse_unknown_properties(problems: Problems, table: SchemaObject) -> None:
    """Refuse a relationship and custom properties of a table, which nothing here enforces."""
    where = f"schema.{table.name}"
    with problems.at(f"{where}.relationships"):
        if table.relationships:
            raise ValueError("put a relationship on the property it starts from")
    with problems.at(f"{where}.customProperties"):
        if names := ", ".join(custom_values(table.customProperties)):
            raise ValueError(f"a table takes none, received {names}")


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


def _read_yaml(path: Path, content: bytes) -> dict[str, Any]:
    try:
        document = yaml.load(content.decode("utf-8"), Loader=_StrictLoader)
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
    return document


def _name_metrics(document: dict[str, Any]) -> None:
    """Write the `rule` of each library entry of ODCS 3.0 as the `metric` of ODCS 3.1."""
    for table in _mappings(document.get("schema")):
        for element in (table, *_mappings(table.get("properties"))):
            for quality in _mappings(element.get("quality")):
                if "rule" in quality and "metric" not in quality:
                    rule = quality.pop("rule")
                    quality["metric"] = _OLD_METRICS.get(str(rule), rule)


def _mappings(values: Any) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _failures(document: dict[str, Any]) -> dict[str, str]:
    """Return the place and the message of everything that breaks the JSON schema.

    An unevaluated property is left out where something else is wrong at or below the same place: the schema
    then reports properties that it knows.
    """
    found = [
        max(_leaves(failure), key=lambda leaf: len(leaf.absolute_path))
        for failure in _validator().iter_errors(document)
    ]
    places = [tuple(leaf.absolute_path) for leaf in found if leaf.validator != "unevaluatedProperties"]
    told: dict[str, str] = {}
    for leaf in found:
        path = tuple(leaf.absolute_path)
        where = locate(document, path)
        follows = any(place[: len(path)] == path for place in places)
        untyped = path[-2:-1] == ("properties",) and "logicalType" not in leaf.instance
        if leaf.validator == "required" and untyped:  # the schema then wants the parts of every type
            told[where] = "logicalType is missing"
        elif leaf.validator != "unevaluatedProperties" or not follows:
            told.setdefault(where, f"breaks ODCS: {leaf.message[:300]}")
    return told


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

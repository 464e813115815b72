"""Check a YAML file that people write against a Pydantic model; every error names its line."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, WithJsonSchema

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.yaml_file import Steps, YamlFile, YamlFileError, read_yaml

_KINDS: Final = {
    "model_attributes_type": "keys and values",
    "model_type": "keys and values",
    "dict_type": "keys and values",
    "list_type": "a list",
    "tuple_type": "a list",
    "string_type": "a text",
}
_EXAMPLE: Final = "2026-12-01T00:00:00+01:00"


class YamlModelError(LastaisleError):
    """A YAML file that cannot be used.

    Attributes:
        path: the file.
        problems: every place in the file that is wrong, with the reason.
    """

    exit_code = ExitCode.WRONG_REQUEST

    def __init__(self, path: Path, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("\n".join(f"{path}: {where}: {reason}" for where, reason in problems))
        self.path = path
        self.problems = tuple(problems)

    @property
    def is_unreadable(self) -> bool:
        """Whether the file cannot be read at all, whatever it holds."""
        return self.__cause__ is not None and isinstance(self.__cause__.__cause__, OSError)


class Part(BaseModel):
    """A part of a file: its keys are known, its numbers finite.

    Attributes:
        whole: of the model of a whole file, its keys in words, for the error of an empty file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    whole: ClassVar[str] = "keys and values"


_Model = TypeVar("_Model", bound=Part)


def _moment(text: Any) -> datetime:
    if isinstance(text, datetime):
        return text
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        raise ValueError(f"should be a time such as {_EXAMPLE}, received {str(text)[:40]!r}") from None
    if moment.tzinfo is None:
        raise ValueError(f"should name its zone, such as {_EXAMPLE}; received {text!r}")
    return moment


Moment = Annotated[
    datetime, BeforeValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]


def all_different(texts: list[str]) -> list[str]:
    """Refuse a text that stands twice in a list."""
    if len(set(texts)) < len(texts):
        raise ValueError(f"{next(text for text in texts if texts.count(text) > 1)!r} stands twice")
    return texts


def read_model(
    path: Path, model: type[_Model], error: type[YamlModelError] = YamlModelError
) -> tuple[_Model, YamlFile]:
    """Read a YAML file, and check it.

    Args:
        path: the file.
        model: what the file may say.
        error: the class of the error.

    Returns:
        What the file says, and the file, which knows the line of each part.

    Raises:
        YamlModelError: the file cannot be read, or says something that has no meaning. The error names every
            such place with its line. It is of the class `error`.
    """
    try:
        file = read_yaml(path)
    except YamlFileError as refused:
        raise error(path, [(refused.where, refused.reason)]) from refused
    if not isinstance(file.content, dict):
        raise error(path, [("document", f"should hold {model.whole}")])
    try:
        return model.model_validate(file.content), file
    except ValidationError as refused:
        raise error(path, list(_told(refused, file, model))) from refused


def json_schema(model: type[Part]) -> str:
    """Return the JSON Schema of a file, as text; editors read it."""
    schema = model.model_json_schema()
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema, indent=2) + "\n"


def place(steps: Steps, file: YamlFile) -> str:
    """Return a place in a file in words: its line, and the keys that lead to it."""
    return f"line {file.line_of(steps)}: {'.'.join(map(str, steps)) or 'document'}"


def closest(name: str, known: Sequence[str], of: str = "the names are") -> str:
    """Return a hint: the known name that is closest, or else all known names."""
    close = difflib.get_close_matches(name, known, 1)
    return f"do you mean {close[0]}?" if close else f"{of} {', '.join(known)}"


def _told(error: ValidationError, file: YamlFile, model: type[Part]) -> Iterator[tuple[str, str]]:
    """Yield the place and the reason of each problem that Pydantic found."""
    for problem in error.errors(include_url=False):
        steps = tuple(step for step in problem["loc"] if step != "[key]")
        reason = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            known = _known_keys(model, steps[:-1])
            reason = f"there is no such key; {closest(str(steps[-1]), known, 'the keys are')}"
        elif problem["type"] in _KINDS:
            reason = f"should hold {_KINDS[problem['type']]}"
        elif problem["type"] == "missing":
            reason = "is missing"
        elif not isinstance(problem["input"], dict | list) and problem["type"] != "value_error":
            reason = f"{reason}, received {str(problem['input'])[:60]!r}"
        yield place(steps, file), reason


def _known_keys(model: type[BaseModel], steps: Steps) -> list[str]:
    """Return the keys that a part of the file may have."""
    for step in steps:
        if isinstance(step, str) and (field := model.model_fields.get(step)) is not None:
            model = next(_models_in(field.annotation), model)
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that the type of a field names, however deep."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        if not isinstance(inner, Mapping):
            yield from _models_in(inner)

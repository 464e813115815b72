"""Read a YAML file that people write: every value stays text, and the line of each part is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

MAX_BYTES: Final = 1 << 20
MAX_SHOWN: Final = 60  # characters of a key in an error

Steps: TypeAlias = tuple[str | int, ...]


class YamlFileError(ValueError):
    """A file that cannot be read as YAML.

    Attributes:
        where: the place in the file, in words.
        reason: what is wrong there.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason


@dataclass(frozen=True)
class YamlFile:
    """The content of a YAML file.

    Attributes:
        content: dictionaries, lists and texts.
        lines: the line of each part, by the keys and positions that lead to it.
    """

    content: Any
    lines: dict[Steps, int]

    def line_of(self, steps: Sequence[str | int]) -> int:
        """Return the line of a part; of the nearest part around it if there is no such part."""
        steps = tuple(steps)
        while steps not in self.lines:
            steps = steps[:-1]
        return self.lines[steps]


class _TextLoader(yaml.BaseLoader):
    """A YAML loader that keeps every value as text, and refuses aliases and keys that stand twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "an alias is not allowed here", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key should be text", key.start_mark)
            if key.value in keys:
                shown = key.value if len(key.value) <= MAX_SHOWN else f"{key.value[:MAX_SHOWN]}…"
                problem = f"the key {shown!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            keys.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> YamlFile:
    """Read a YAML file of at most 1 MiB.

    Raises:
        YamlFileError: the file cannot be read, is no YAML, or has an alias, or a key that stands twice.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise YamlFileError("file", f"is longer than {MAX_BYTES} bytes")
        loader = _TextLoader(data.decode("utf-8-sig"))
        node = loader.get_single_node()
        content = None if node is None else loader.construct_document(node)
        return YamlFile(content, {(): 1, **dict(_lines(node, ()))})
    except OSError as error:
        raise YamlFileError("file", f"cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise YamlFileError(f"byte {error.start}", "the file is not UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "document"
        reason = getattr(error, "problem", None) or str(error)
        raise YamlFileError(where, f"not usable YAML: {reason}") from error
    except RecursionError as error:
        raise YamlFileError("document", "not usable YAML: nested too deeply") from error


def _lines(node: Any, steps: Steps) -> Iterator[tuple[Steps, int]]:
    """Yield the line of every part; the line of a value with a key is the line of the key."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*steps, key.value), key.start_mark.line + 1
            yield from _lines(value, (*steps, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            yield (*steps, position), value.start_mark.line + 1
            yield from _lines(value, (*steps, position))

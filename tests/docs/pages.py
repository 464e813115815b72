"""Read the pages: their commands, their code blocks, the code inside their sentences."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=")


@dataclass(frozen=True)
class Command:
    """One command of a page.

    Attributes:
        page: the page's path, from the root.
        text: the command as it is printed.
        variables: what it sets in the environment, for itself or by export.
        words: the command and its arguments; ("export",) if it only sets variables.
    """

    page: str
    text: str
    variables: dict[str, str]
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language, without the indent of a list."""
    found = []
    for match in _FENCE.finditer(page.read_text(encoding="utf-8")):
        if match["language"] == language:
            indent = len(match["indent"])
            found.append("".join(line[indent:] for line in match["body"].splitlines(keepends=True)))
    return found


def commands() -> list[Command]:
    """Return every command of every shell block."""
    found = []
    for page in PAGES:
        for block in blocks(page, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words:
                    found.append(_command(page, line, words))
    return found


def _command(page: Path, line: str, words: list[str]) -> Command:
    exported = words[0] == "export"
    rest = words[1:] if exported else list(words)
    variables = {}
    while rest and _ASSIGNMENT.match(rest[0]):
        name, _, value = rest.pop(0).partition("=")
        variables[name] = value
    return Command(
        page.relative_to(ROOT).as_posix(),
        line.strip(),
        variables,
        tuple(["export", *rest] if exported else rest),
    )


def code_in_sentences() -> list[tuple[str, str]]:
    """Return (page, code) for everything between backticks outside of blocks."""
    found = []
    for page in (*PAGES, ROOT / "DECISIONS.md", ROOT / "CHANGELOG.md"):
        text = _FENCE.sub("", page.read_text(encoding="utf-8"))
        found += [(page.name, code) for code in re.findall(r"`([^`\n]+)`", text)]
    return found

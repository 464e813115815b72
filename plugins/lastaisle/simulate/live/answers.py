"""The answers of one day, kept in a file, so that a day that was cut shows the same lists again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from lastaisle.simulate.live.service import Connection, ListOfItems
from lastaisle.simulate.options import ShopOptionsError
from lastaisle.simulate.write import write_whole


class Answers:
    """Asks the service, and keeps each answer by the name of its question.

    A day that was cut in the middle and begins again takes its answers from the file. So its lists have the
    same ids and the same moments, and its feedback repeats rows, which ingestion counts once.

    Args:
        connection: an open connection; None only repeats the answers of the file, and tells nobody.
        file: the file: a line of JSON about the shop, then one for each answer; None keeps nothing.
        shop: the options of the shop, as plain values. Answers of another shop would fit no question.

    Raises:
        ShopOptionsError: the file is no such file, or of a shop with other options.
    """

    def __init__(self, connection: Connection | None, file: Path | None, shop: Mapping[str, Any]) -> None:
        self._connection = connection
        self._known = {} if file is None else _read(file, shop)
        self._output: TextIO | None = None
        if file is not None and connection is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            _write(file, shop, self._known)
            self._output = file.open("a", encoding="utf-8")

    def __enter__(self) -> Answers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._output is not None:
            self._output.close()

    async def ask(self, name: str, question: Mapping[str, Any]) -> ListOfItems | None:
        """Return the kept answer of a name, else ask; None if the service gave none after all its tries."""
        if name in self._known or self._connection is None:
            return self._known.get(name)
        self._known[name] = answer = await self._connection.ask(question)
        if self._output is not None:
            self._output.write(f"{_line(name, answer)}\n")
            self._output.flush()
        return answer

    async def tell(self, feedback: Sequence[Mapping[str, Any]]) -> int | None:
        """Send feedback; return how many rows the service stored, or None if it took none."""
        return None if self._connection is None else await self._connection.tell(feedback)


def _line(name: str, answer: ListOfItems | None) -> str:
    return json.dumps([name, asdict(answer) if answer else None])


def _read(file: Path, shop: Mapping[str, Any]) -> dict[str, ListOfItems | None]:
    """Read the answers of a file; a last line that a kill cut is left out."""
    known: dict[str, ListOfItems | None] = {}
    if not file.exists():
        return known
    lines = file.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines, start=1):
        if not line.endswith(b"\n"):
            break
        try:
            name, answer = json.loads(line)
            if number == 1:
                _check_shop(file, answer, shop)
            else:
                known[name] = answer and ListOfItems(**{**answer, "items": tuple(answer["items"])})
        except (ValueError, TypeError, KeyError) as error:
            raise ShopOptionsError(
                f"line {number} of {file} is no answer of a list ({error}): name another folder as the "
                "journal, or remove the file, and the day begins anew"
            ) from None
    return known


def _check_shop(file: Path, kept: Mapping[str, Any], shop: Mapping[str, Any]) -> None:
    given = json.loads(json.dumps(shop))
    if kept != given:
        names = sorted(name for name in {*kept, *given} if kept.get(name) != given.get(name))
        raise ShopOptionsError(
            f"{file} keeps the answers of a shop with other options ({', '.join(names)}): name another "
            "folder as the journal, or give the options of that shop"
        )


def _write(file: Path, shop: Mapping[str, Any], known: Mapping[str, ListOfItems | None]) -> None:
    """Write the answers anew, without a cut line, whole or not at all."""
    write_whole(file, [json.dumps(["shop", shop]), *(_line(*each) for each in known.items())])

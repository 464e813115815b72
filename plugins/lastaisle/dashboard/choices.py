"""The choices that a page's address makes, such as a placement: a wrong one is refused in words."""

from __future__ import annotations

from collections.abc import Iterable

from lastaisle.errors import ExitCode, LastaisleError


class ChoiceError(LastaisleError):
    """An address of the dashboard chooses something that there is not."""

    exit_code = ExitCode.WRONG_REQUEST


def choose(name: str, value: str, known: Iterable[str]) -> str:
    """Return a chosen value.

    Args:
        name: of the choice, for the message.
        value: what the address says.
        known: the values that there are.

    Raises:
        ChoiceError: the value is none of them.
    """
    values = list(known)
    if value not in values:
        listed = ", ".join(values[:20]) + (f" and {len(values) - 20} more" if len(values) > 20 else "")
        raise ChoiceError(f"{name} is one of: {listed or 'none'}; received {value[:100]!r}")
    return value

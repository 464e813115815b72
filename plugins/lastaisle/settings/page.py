"""The documentation page of the settings, written from the fields themselves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from lastaisle.settings.fields import bounds_of, extra_of, is_secret, variable_of
from lastaisle.settings.others import OTHER_VARIABLES
from lastaisle.settings.settings import Settings, sections

_INTRODUCTION: Final = """\
# Settings

<!-- Written by `python -m lastaisle.settings > docs/settings.md` from plugins/lastaisle/settings/. -->

Lastaisle reads its settings from environment variables. The command line, the DAGs and the tasks read the
same variables. An empty variable counts as missing. A wrong value is refused with the name of the variable,
the value and the bounds. A variable that begins with `LASTAISLE_` and that this page does not list is refused
too, with the closest name that exists. The value of a secret is never shown. Kubernetes sets variables in a
pod for a Service named lastaisle-something. These variables are left alone.

Each description ends with the name of the setting in code: `learning.window_hours` is read by
`settings.learning.window_hours`.

## Home

The folder that holds everything else by default. Without the variable, the command line looks for a folder
`.lastaisle` in the current folder and in the folders above it, up to the root of the Git checkout. If it
finds none, it takes `~/.lastaisle`. Airflow's services and tasks do not look for the folder: without the
variable they take `~/.lastaisle`. `make demo`, `make up` and the commands in `bin/` set the variable.
"""
_OTHERS: Final = """\
## Other variables

These variables are read where they are needed. They are no fields of the settings.

| Variable | Secret | Description |
|---|---|---|
"""
_HEADER: Final = "| Variable | Default | Bounds | Description |\n|---|---|---|---|\n"


def page() -> str:
    """Return the page as Markdown: one table for each section."""
    parts = [_INTRODUCTION, _table("", [("home", Settings.model_fields["home"])])]
    for name, section in sections().items():
        title = section.__name__.removesuffix("Settings")
        parts.append(f"## {title}\n\n{section.__doc__}\n")
        parts.append(_table(name, section.model_fields.items()))
    others = (
        f"| `{other.name}` | {'yes' if other.secret else ''} | {_cell(other.description)} |"
        for other in OTHER_VARIABLES
    )
    return "\n".join(parts) + "\n" + _OTHERS + "\n".join(others) + "\n"


def _table(section: str, fields: Iterable[tuple[str, FieldInfo]]) -> str:
    prefix = f"{section}." if section else ""
    rows = (
        f"| `{variable_of(field)}` | {_default(field)} | {_bounds(field)} "
        f"| {_cell(field.description or '')} `{prefix}{name}` |"
        for name, field in fields
    )
    return _HEADER + "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    if text := extra_of(field, "shown_default"):
        return text
    default = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    return f"`{default}` {extra_of(field, 'unit')}".strip() if default != "" else "empty"


def _bounds(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(field.annotation) if value)
    if is_secret(field):
        return "; ".join(filter(None, ["a secret", extra_of(field, "expected")]))
    return bounds_of(field) or _cell(extra_of(field, "expected"))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")

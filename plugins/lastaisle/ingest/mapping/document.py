"""What a mapping may say: its keys, their forms, and the JSON Schema that editors check it with."""

from __future__ import annotations

import json
import zoneinfo
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)

from lastaisle.ingest.mapping.json_path import json_pointer

TIME_UNITS = ("s", "ms", "us", "ns")
NAME = r"^[a-z][a-z0-9_]{0,39}$"
_SCALAR = {"type": ["string", "number", "boolean"]}


def _no_null_character(text: str) -> str:
    if "\0" in text:
        raise ValueError("holds the character NUL")
    return text


Text = Annotated[
    str, StringConstraints(min_length=1), AfterValidator(_no_null_character), WithJsonSchema(_SCALAR)
]


def _place(text: str) -> str:
    if text[:1] in "$@" and text != "@":
        json_pointer(text)
    return text


#: $.a.b[0] in the line, @.a in the element of `rows`, or the name of a column.
Place = Annotated[Text, AfterValidator(_place)]


def _time(text: str) -> str:
    if text in (*TIME_UNITS, "iso"):
        return text
    if "%" not in text:
        raise ValueError(
            f"should be s, ms, us, ns, iso, or a format such as %d.%m.%Y %H:%M; received {text!r}"
        )
    return text


def _zone(text: str) -> str:
    if text not in zoneinfo.available_timezones():
        raise ValueError(f"there is no time zone {text!r}; a time zone is like Europe/Berlin")
    return text


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Source(_Part):
    """The origin of a field's value, and how to read the value."""

    path: Place | None = Field(None, description="JSON path: $.a.b[0], or @.a in an element of `rows`.")
    column: Text | None = Field(None, description="The name of a column, or of a key on the top level.")
    constant: Text | None = Field(None, description="The same value for every row.")
    first: list[Place] | None = Field(None, min_length=1, description="The first of these that has a value.")
    join: list[Place] | None = Field(
        None, min_length=2, description="These values together. If one is missing, the field is missing."
    )
    separator: Annotated[str, AfterValidator(_no_null_character)] = Field(
        "-", description="Stands between joined values."
    )
    time: Annotated[Text, AfterValidator(_time)] = Field(
        "iso", description="s, ms, us or ns since 1970, iso, or a format such as %d.%m.%Y %H:%M."
    )
    zone: Annotated[Text, AfterValidator(_zone)] | None = Field(
        None, description="The time zone of times that name none, such as Europe/Berlin; default: UTC."
    )
    decimal: Literal[".", ","] = Field(".", description="The decimal sign; with ',' a '.' groups thousands.")
    divide: Annotated[
        str, StringConstraints(pattern=r"^[1-9][0-9]{0,8}$"), WithJsonSchema({"type": "integer"})
    ] = Field("1", description="Divides numbers, such as 100 for cents.")
    values: dict[Text, Text] = Field({}, description="Other words for values; other values stay unchanged.")

    only: list[Text] | None = Field(
        None, min_length=1, description="The canonical event types that have this field; default: all."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        given = [name for name in ("path", "column", "constant", "first", "join") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                "should hold exactly one of path, column, constant, first and join; "
                f"received {', '.join(given) or 'none of them'}"
            )
        if self.path is not None and self.path[0] not in "$@":
            raise ValueError(
                f"path should begin with $ or @, received {self.path!r}: name a column by `column`"
            )
        return self

    def places(self) -> list[tuple[str, bool]]:
        """Return the places of the values, each with whether its text is the name of a column."""
        if self.column is not None:
            return [(self.column, True)]
        given = self.first or self.join or ([self.path] if self.path else [])
        return [(place, place[0] not in "$@") for place in given]


def _form(entry: Any) -> str:
    if isinstance(entry, dict | Source):
        return "source"
    return "list" if isinstance(entry, list) else "text"


FieldSource = Annotated[
    Annotated[Place, Tag("text")]
    | Annotated[Annotated[list[Place], Field(min_length=1)], Tag("list")]
    | Annotated[Source, Tag("source")],
    Discriminator(_form),
]


def _rows(text: str) -> str:
    if not (text.startswith("$") and text.endswith("[*]")):
        raise ValueError(f"should be a JSON path of a list, such as $.items[*]; received {text!r}")
    json_pointer(text.removesuffix("[*]"))
    return text


class Mapping(_Part):
    """How the lines of a shop's own log become canonical events."""

    name: Annotated[str, StringConstraints(pattern=NAME)] = Field(
        description="The format's name, as the tables show it: lower_snake_case."
    )
    input: Literal["json", "csv", "tsv"] = Field(
        "json", description="JSON Lines, or columns. A Parquet file may have any of them."
    )
    separator: Annotated[str, StringConstraints(pattern=r"^[,;|\t]$")] | None = Field(
        None, description="The sign between two columns; default: ',' for csv, a tab for tsv."
    )
    columns: list[Text] | None = Field(
        None, min_length=1, description="The names of the columns in their order, for files without a header."
    )
    rows: Annotated[Text, AfterValidator(_rows)] | None = Field(
        None, description="A list such as $.items[*]: each of its elements, which @ stands for, is a row."
    )
    fields: dict[str, FieldSource] = Field(
        min_length=1, description="For each field of the contract raw_events: a column, a JSON path, or more."
    )
    events: dict[Text, Text] = Field({}, description="The canonical type of each of the shop's event names.")
    ignored: Literal["others"] | list[Text] = Field(
        [], description="Event names of no interest: a list, or `others` for all names that `events` lacks."
    )
    nothing: list[Text] = Field(
        [], description="Texts that stand for a missing value, beside blanks, NULL, NaN and the like."
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> Mapping:
        if self.input == "json" and (self.separator or self.columns):
            raise ValueError("separator and columns belong to the inputs csv and tsv")
        if self.input != "json" and self.rows:
            raise ValueError("rows belongs to the input json")
        if self.columns and len(set(self.columns)) < len(self.columns):
            raise ValueError("columns: a name stands twice")
        if both := set(self.events) & set(self.ignored if isinstance(self.ignored, list) else ()):
            raise ValueError(f"stands under events and under ignored: {', '.join(sorted(both))}")
        return self

    def source(self, field: str) -> Source:
        """Return the source of a field in its long form."""
        given = self.fields[field]
        if isinstance(given, Source):
            return given
        return Source.model_validate({"first": given if isinstance(given, list) else [given]})


@cache
def json_schema() -> str:
    """Return the JSON Schema of a mapping, as text."""
    schema = Mapping.model_json_schema()
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema, indent=2) + "\n"

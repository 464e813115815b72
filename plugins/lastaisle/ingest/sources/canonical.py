"""Canonical JSON Lines: every field of the raw_events contract at its own jsonPath.

Only the contract lists the fields. A folder of a jsonPath (`$.consent` of `$.consent.analytics`) may also be
a text that holds the object as JSON, as other programs write it into Parquet files. A folder that is there
and holds no object sends its row to quarantine, with the rule <folder>_unreadable. The folder of the consent
may have any form that `lastaisle.ingest.sources.consent` reads. The names `gpc` and `do_not_sell` on the top
level refuse purposes whatever the record says.

DuckDB's reader accepts more than JSON: NaN as a number, which counts as a missing value, and a comma before a
closing brace.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from data_contracts.contract import Contract
from data_contracts.field import Field
from data_contracts.privacy import literal, quote
from lastaisle.ingest.sources.adapter import Adapter
from lastaisle.ingest.sources.consent import Consent, consent_fields, with_opt_outs
from lastaisle.ingest.sources.json_lines import is_object, json_object, not_json, transform, twice

#: Further names on the top level of a line: Global Privacy Control, and Do Not Sell.
OPT_OUTS: Final = ("gpc", "do_not_sell")


def _prepare(contract: Contract) -> str:
    """Return the SELECT that parses the fields of the contract, folder by folder from the top."""
    source = json_object(dict.fromkeys(known_names(contract), "VARCHAR"))
    for folder, members in _folders(contract).items():
        struct = transform(_place(folder), dict.fromkeys(members, "VARCHAR"))
        source = f"SELECT *, {struct} AS {_struct(folder)} FROM ({source})"
    record = _consent_folder(contract)
    return Consent.of(contract).columns(_place(record), source) if record else source


def _malformed(contract: Contract) -> str:
    """Return the reason why a line, or a folder in it, cannot be read."""
    record = _consent_folder(contract)
    reasons = [not_json()]
    for folder in _folders(contract):
        text = _place(folder)
        if folder != record:
            reason = literal(f"{folder[-1].lower()}_unreadable")
            reasons.append(f"CASE WHEN NOT {is_object(text)} THEN {reason} END")
        looked_at = f"{text} IS NOT NULL" if folder != record else "NOT consent_plain"
        reasons.append(
            f"CASE WHEN {looked_at} AND {twice(f'TRY_CAST({text} AS JSON)')} THEN 'duplicate_key' END"
        )
    if record:
        reasons.append(Consent.of(contract).unreadable())
    return f"coalesce({', '.join(reasons)})"


def _fields(contract: Contract) -> Mapping[str, str]:
    """Read a field at its jsonPath, or by its name on the top level, as in a Parquet file."""
    record = _consent_folder(contract)
    consent = Consent.of(contract)
    names = _names(contract)
    fields = {}
    for field in contract.fields:
        folder, leaf = _steps(field)
        top = f"doc.{quote(field.name)}" if field.name in names else "NULL"
        if folder and folder == record and field.name in consent.names:
            fields[field.name] = consent.field(field.name, otherwise=top)
        elif folder:
            fields[field.name] = f"coalesce({_struct(folder)}.{quote(leaf)}, {top})"
        else:
            fields[field.name] = f"coalesce(doc.{quote(leaf)}, {top})"
    consents = {name: fields[name] for name in consent.names}
    return fields | with_opt_outs(consents, *(f"doc.{name}" for name in OPT_OUTS))


def known_names(contract: Contract) -> list[str]:
    """Return the known names on the top level of a line."""
    return list(dict.fromkeys([*_names(contract), *_first_steps(contract), *OPT_OUTS]))


def _names(contract: Contract) -> list[str]:
    """Return the names under which a field may stand on the top level, as in a Parquet file."""
    taken = {step.casefold() for step in _first_steps(contract)}
    return [field.name for field in contract.fields if field.name not in taken]


def _first_steps(contract: Contract) -> list[str]:
    return [(*folder, leaf)[0] for folder, leaf in map(_steps, contract.fields)]


def _folders(contract: Contract) -> dict[tuple[str, ...], list[str]]:
    """Return the names that are read in each folder of a jsonPath; a folder stands before those in it."""
    members: dict[tuple[str, ...], dict[str, None]] = {}
    for folder, leaf in map(_steps, contract.fields):
        path = (*folder, leaf)
        for depth in range(1, len(path)):
            members.setdefault(path[:depth], {})[path[depth]] = None
    return {folder: list(names) for folder, names in sorted(members.items())}


def _consent_folder(contract: Contract) -> tuple[str, ...]:
    """Return the folder of the first consent field that has a folder; () if none has one."""
    folders = [_steps(field)[0] for field in consent_fields(contract)]
    return next((folder for folder in folders if folder), ())


def _steps(field: Field) -> tuple[tuple[str, ...], str]:
    """Return the folder and the name of a field in it."""
    *folder, leaf = field.json_path.removeprefix("$.").split(".")
    return tuple(folder), leaf


def _place(folder: tuple[str, ...]) -> str:
    """Return the SQL of a folder's text."""
    return f"{_struct(folder[:-1])}.{quote(folder[-1])}"


def _struct(folder: tuple[str, ...]) -> str:
    """Return the column with the members of a folder."""
    return quote("_in." + ".".join(folder)) if folder else "doc"


ADAPTER = Adapter("canonical", fields=_fields, prepare=_prepare, malformed=_malformed, keys=known_names)

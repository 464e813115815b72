"""The data map: tables with their fields, purposes and retention, and the tables they are made of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from data_contracts import Contract, load_contract
from data_contracts.document import packaged_tables
from data_contracts.privacy import Treatment
from data_contracts.retention import retention_of
from lastaisle.audit.finding import Finding, Table
from lastaisle.audit.scope import Scope, judged
from lastaisle.lake.maintenance import MaintenancePolicy
from lastaisle.lake.tables import ALL_TABLES, AUDITS

#: The tables from which the pipeline makes a table.
FLOWS: Final[dict[str, tuple[str, ...]]] = {
    "events": ("raw_events",),
    "outcomes": ("events", "exposures"),
    "unattributed": ("events", "exposures"),
    "shop_metrics": ("events", "outcomes"),
    "abandonments": ("events",),
    "drift": ("events",),
    "training_runs": ("events", "items", "consents"),
    "releases": ("training_runs",),
    "experiment_results": ("events", "outcomes"),
    "bandit_arms": ("outcomes",),
    "consents": ("events",),
    "privacy_spent": ("training_runs",),
    "erased": ("subject_requests",),
}


def read_map(scope: Scope) -> list[Table]:
    """Return the data map.

    Raises:
        LakeUnusableError: a table is there and cannot be read.
    """
    policy, with_contract = MaintenancePolicy.from_settings(scope.settings), packaged_tables()
    return [
        Table(
            name=name,
            rows=_rows(scope, name),
            holds=retention_of(name).holds,
            purposes=retention_of(name).purposes,
            legal_basis=retention_of(name).legal_basis,
            days=policy.days_of(name),
            made_of=FLOWS.get(name, ()),
            fields=_fields(load_contract(name)) if name in with_contract else (),
        )
        for name in ALL_TABLES
    ]


def _fields(contract: Contract) -> tuple[tuple[str, str, str], ...]:
    return tuple((field.name, str(field.classification), _told(field.treatment)) for field in contract.fields)


def _told(treatment: Treatment) -> str:
    """Return a treatment as the contract writes it, such as `coarsen (truncate: second)`."""
    options = ", ".join(f"{name}: {value}" for name, value in treatment.options.items())
    return f"{treatment.action} ({options})" if options else treatment.action


def _rows(scope: Scope, name: str) -> int | None:
    dataset = scope.lake.dataset(name)
    return None if dataset is None else int(dataset.count_rows())


def map_findings(scope: Scope) -> Iterator[Finding]:
    """Tell whether the lake holds only tables whose data, purposes and retention are stated."""
    # Its own table is left out, so that an audit that is made again finds the same.
    stated = [name for name in ALL_TABLES if name != AUDITS and scope.lake.version(name) is not None]
    unknown = _unknown_folders(scope)
    told = f"{len(stated)} tables have rows, and each states its data, purposes and retention."
    if unknown:
        told = f"The lake holds {', '.join(unknown)}, of which no contract says anything."
    yield Finding("map", "tables", judged(not unknown), told, "lastaisle tables", len(stated))


def _unknown_folders(scope: Scope) -> list[str]:
    """Return the folders of a local lake that are no table of the pipeline."""
    if "://" in scope.lake.url or not Path(scope.lake.url).is_dir():
        return []
    return sorted({entry.name for entry in Path(scope.lake.url).iterdir()} - set(ALL_TABLES))

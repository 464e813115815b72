"""Verify versions and ledger: compare files, and the rows of the ledger, with their digests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.registry.errors import MissingArtifactError
from lastaisle.registry.ledger import Ledger

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.chain import ChainCheck
    from lastaisle.registry.registry import Registry


class LedgerChangedError(LastaisleError):
    """Rows of the ledger were changed, removed or added by another program."""

    exit_code = ExitCode.LEDGER_CHANGED


WHOLE, CHANGED, MISSING, NO_DIGEST = "whole", "changed", "missing", "no digest"


@dataclass(frozen=True)
class Verified:
    """The outcome for one version.

    Attributes:
        version: its number.
        aliases: its aliases in MLflow.
        outcome: whole, changed (the files have another digest), missing (the version or its files are gone),
            or no digest (neither the ledger nor MLflow has one: the version comes from an older release).
        expected: the digest that was recorded; None = there is none.
        recorded_in: ledger, or MLflow for versions that the ledger does not know, such as online updates.
        received: the digest of the files; None = they are gone.
        reason: why it is missing.
    """

    version: str
    aliases: tuple[str, ...]
    outcome: str
    expected: str | None = None
    recorded_in: str | None = None
    received: str | None = None
    reason: str = ""

    @property
    def may_serve(self) -> bool:
        """Whether nothing speaks against the version."""
        return self.outcome in (WHOLE, NO_DIGEST)


def verify(lake: Lake, registry: Registry, version: str | None = None) -> list[Verified]:
    """Compare one version, or every version that has an alias, with its digest.

    The ledger lies in the lake, so a digest in it holds against everyone who can write to MLflow alone.
    """
    ledger = Ledger(lake, registry.model_name)
    aliases: dict[str, list[str]] = {} if version is None else {version: []}
    for alias, holder in registry.aliases().items():
        if version in (None, holder):
            aliases.setdefault(holder, []).append(alias)
    wanted = {holder for holder in ledger.standing().aliases.values() if version is None and holder}
    for holder in wanted - set(aliases):  # the ledger's versions count also if MLflow lost their aliases
        aliases[holder] = []
    return [
        _verified(one, tuple(sorted(aliases[one])), ledger, registry) for one in sorted(aliases, key=_number)
    ]


def require_whole_ledger(chain: ChainCheck, where: str) -> None:
    """Refuse a ledger whose rows are not those that were written.

    Raises:
        LedgerChangedError: rows were changed, removed or added; the error names the first place.
    """
    if chain.broken:
        first, *others = chain.broken
        more = f" ({len(others)} more places)" if others else ""
        raise LedgerChangedError(
            f"the table releases of {where} is not what was written: {first}{more}. Nothing was changed. "
            "Compare the table with its earlier versions, which maintenance keeps for "
            "LASTAISLE_KEEP_VERSIONS_DAYS days, and find out who wrote to it"
        )


def _verified(version: str, aliases: tuple[str, ...], ledger: Ledger, registry: Registry) -> Verified:
    expected, recorded_in = ledger.digest_of(version), "ledger"
    try:
        if expected is None:
            expected, recorded_in = registry.recorded_digest(version), "MLflow"
        received = registry.digest_of_version(version)
    except MissingArtifactError as error:
        return Verified(version, aliases, MISSING, expected, recorded_in, reason=str(error))
    if expected is None:
        return Verified(version, aliases, NO_DIGEST, received=received)
    outcome = WHOLE if received == expected else CHANGED
    return Verified(version, aliases, outcome, expected, recorded_in, received)


def _number(version: str) -> tuple[int, str]:
    return (int(version) if version.isdigit() else 0, version)

"""The versions that arms name: found in the registry once, and checked against the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from lastaisle.experiments.definition.definition import Definition, DefinitionError
from lastaisle.registry.ledger import PROMOTE, REFUSE, REGISTER, ROLLBACK, Ledger, rolled_back_versions
from lastaisle.yaml_file import Steps
from lastaisle.yaml_model import closest

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.ledger import Move
    from lastaisle.registry.registry import Registry


class Versions:
    """The versions of the registered model, read when the first arm asks for one.

    Args:
        lake: holds the ledger.
        registry: holds the versions.
    """

    def __init__(self, lake: Lake, registry: Registry) -> None:
        self._lake = lake
        self._registry = registry
        self._existing: dict[str, bool] = {}

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Alias to version."""
        return self._registry.aliases()

    @cached_property
    def unwanted(self) -> dict[str, str]:
        """The versions that were refused or rolled back, each with the reason in words."""
        moves = Ledger(self._lake, self._registry.model_name).moves()
        unwanted: dict[str, str] = {}
        for move in moves:
            if move.action == REFUSE:
                unwanted[move.to_version] = _told("refused it", move)
            elif move.action in (REGISTER, PROMOTE, ROLLBACK):
                unwanted.pop(move.to_version, None)
        for version, move in rolled_back_versions(moves).items():
            unwanted[version] = _told("a rollback took it back", move)
        return unwanted

    def exists(self, version: str) -> bool:
        """Tell whether there is a version."""
        if version not in self._existing:
            self._existing[version] = self._registry.find_run_of(version) is not None
        return self._existing[version]

    def of(self, definition: Definition, steps: Steps, alias: str) -> str:
        """Return the version of an alias.

        Raises:
            DefinitionError: no version has the alias.
        """
        version = self.aliases.get(alias)
        if version is None:
            known = sorted(self.aliases)
            hint = closest(alias, known, "the aliases are") if known else "there is no alias yet"
            problem = definition.problem((*steps, "alias"), f"no version has the alias {alias!r}; {hint}")
            raise DefinitionError(definition.path, [problem])
        return version

    def problems_of(self, definition: Definition) -> Iterator[tuple[str, str]]:
        """Yield what speaks against the versions that a definition names."""
        model = self._registry.model_name
        for steps, part, allow_refused in definition.parts():
            if part.follows_champion():
                continue
            key = "version" if part.version is not None else "alias"
            version = part.version or self.of(definition, steps, str(part.alias))
            if not self.exists(version):
                yield definition.problem((*steps, key), f"{model} has no version {version!r}")
            elif version in self.unwanted and not allow_refused:
                reason = f"version {version}: {self.unwanted[version]}. allow_refused: true takes it anyway"
                yield definition.problem((*steps, key), reason)


def _told(what: str, move: Move) -> str:
    said = "the gate " if move.action == REFUSE else ""
    return f"{said}{what} at {move.moved_at:%Y-%m-%d %H:%M} UTC ({move.reason[:200]})"

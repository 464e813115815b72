"""Which versions can become champion at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lastaisle.errors import RegistryError
from lastaisle.registry.losses import missing_part
from lastaisle.registry.tags import BASE, RUN_KEY

if TYPE_CHECKING:
    from lastaisle.registry.registry import Registry


def require_servable(version: str, run_id: str, registry: Registry) -> str:
    """Return the run key of a version, and refuse a version that cannot become champion.

    Raises:
        RegistryError: the version is no training of lastaisle, has online updates, or lost a part.
    """
    tags = registry.tags(run_id) if registry.has_run(run_id) else {RUN_KEY: ""}
    run_key = tags.get(RUN_KEY)
    if run_key is None:
        raise RegistryError(
            f"version {version} of {registry.model_name} comes from the run {run_id}, which has no tag "
            f"{RUN_KEY!r}: it is no training of lastaisle, so it cannot become champion"
        )
    if BASE in tags:
        raise RegistryError(
            f"version {version} of {registry.model_name} is version {tags[BASE]} with online updates, which "
            f"end when the champion moves: name version {tags[BASE]}"
        )
    if part := missing_part(version, run_id, registry):
        raise RegistryError(f"version {version} of {registry.model_name} cannot serve: {part}")
    return run_key

"""The errors of the lake."""

from __future__ import annotations

from lastaisle.errors import ExitCode, LastaisleError


class LakeConflictError(LastaisleError):
    """Another writer changed the table since it was read; read the table again and retry."""

    exit_code = ExitCode.OVERTAKEN


class VersionGoneError(LastaisleError):
    """The log of a table no longer reaches back to this version."""

    exit_code = ExitCode.TABLE_VERSION_GONE

"""Errors of analyses."""

from __future__ import annotations

from lastaisle.errors import ExitCode, LastaisleError


class AnalysisError(LastaisleError):
    """An experiment that cannot be analysed as its rules ask."""

    exit_code = ExitCode.WRONG_REQUEST

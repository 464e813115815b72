"""Measure the memory that this process has needed."""

from __future__ import annotations

import resource
import sys


def peak_rss_mib() -> float:
    """Return the most memory that this process has held so far, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)

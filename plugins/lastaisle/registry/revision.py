"""Which revision of the code runs, and with which packages: a run has to say what made it."""

from __future__ import annotations

import os
import subprocess
from functools import cache
from importlib.metadata import distributions
from pathlib import Path


@cache
def git_revision() -> str:
    """Return LASTAISLE_GIT_REVISION, else the commit of the checkout, else "unknown"."""
    given = os.environ.get("LASTAISLE_GIT_REVISION", "").strip()
    if given:
        return given
    try:
        asked = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):  # no git here, as in an image
        return "unknown"
    return asked.stdout.strip() or "unknown"


@cache
def installed_packages() -> str:
    """Return the installed packages, one `name==version` a line, as a lock file names them."""
    found = {(one.metadata["Name"] or "").lower().replace("_", "-"): one.version for one in distributions()}
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()) if name)

"""docs/settings.md is what the fields say."""

import subprocess
import sys
from pathlib import Path

from lastaisle.settings.others import OTHER_VARIABLES
from lastaisle.settings.page import page
from lastaisle.settings.settings import known_variables

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_written_from_the_fields():
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m lastaisle.settings > docs/settings.md"


def test_the_command_prints_the_page():
    command = [sys.executable, "-m", "lastaisle.settings"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == page()


def test_every_variable_has_a_row():
    rows = [line for line in page().splitlines() if line.startswith("| `LASTAISLE_")]
    assert len(rows) == len(known_variables()) + len(OTHER_VARIABLES)
    for name in [*known_variables(), *(other.name for other in OTHER_VARIABLES)]:
        assert sum(row.startswith(f"| `{name}` |") for row in rows) == 1, name

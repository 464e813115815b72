"""SECURITY.md lists every secret with the processes that really hold it."""

import re
from pathlib import Path

import pytest

from lastaisle_airflow.local.secret_holders import HOLDERS as LOCAL_HOLDERS
from tests.docker.test_compose import HOLDERS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def rows(heading):
    """Return the cells of the table rows below a heading, without the header."""
    section = PAGE[PAGE.index(f"\n## {heading}\n") :].removeprefix(f"\n## {heading}\n").partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ") and "`" in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def names(cell):
    return set(re.findall(r"`([\w*-]+)`", cell))


@pytest.mark.parametrize("secret", HOLDERS)
def test_the_table_of_the_containers_is_true(secret):
    (holders,) = [row[1] for row in rows("The secrets") if len(row) == 3 and names(row[0]) == {secret}]
    told = names(holders)
    if secret == "AIRFLOW_ADMIN_PASSWORD":
        told -= {"api-server"}  # by the volume, not by its environment
    assert told == HOLDERS[secret]


def test_every_secret_of_lastaisle_is_on_the_page():
    ours = {name for name in LOCAL_HOLDERS if name.startswith("LASTAISLE_")}
    assert ours <= {name for row in rows("The secrets") for name in names(row[0])}


@pytest.mark.parametrize("secret", HOLDERS)
def test_the_page_says_how_to_change_each_secret(secret):
    assert [row for row in rows("Change a secret") if secret in names(row[0]) and row[1]]

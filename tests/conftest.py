"""The kinds of tests, and the fixtures that tests of several folders share."""

import os
from functools import cache

import typer.main
import typer.testing

#: Typer's runner builds all commands of a command line anew at each call, which takes a tenth of a second.
typer.testing._get_command = cache(typer.main.get_command)

# xdist gives its workers a width. A console that is made under this variable keeps the width for ever.
os.environ.pop("COLUMNS", None)

pytest_plugins = [
    "pytester",
    "tests.services.kinds",
    "tests.services.dags",
    "tests.services.kafka",
    "tests.services.s3",
    "tests.shops.fixtures",
    "tests.delivery.fixtures",
]

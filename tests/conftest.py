"""The kinds of tests, and the fixtures that tests of several folders share."""

from functools import cache

import typer.main
import typer.testing

#: Typer's runner builds all commands of a command line anew at each call, which takes a tenth of a second.
typer.testing._get_command = cache(typer.main.get_command)

pytest_plugins = [
    "pytester",
    "tests.services.kinds",
    "tests.services.dags",
    "tests.services.kafka",
    "tests.services.s3",
    "tests.shops.fixtures",
    "tests.delivery.fixtures",
]

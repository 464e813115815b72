"""The kinds of tests, and the fixtures that tests of several folders share."""

pytest_plugins = [
    "pytester",
    "tests.services.kinds",
    "tests.services.dags",
    "tests.services.kafka",
    "tests.services.s3",
    "tests.shops.fixtures",
    "tests.delivery.fixtures",
]

"""Fixtures that tests of several folders share."""

pytest_plugins = ["tests.services.kafka", "tests.services.s3"]

"""A real S3 API, served on 127.0.0.1."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import fsspec
import pytest
import s3fs

from tests.services.required import starts_service


@pytest.fixture
def s3():
    """A running S3 API with one bucket, `shop`; the environment names its address."""
    with running_s3() as store:
        yield store


@contextmanager
def running_s3() -> Iterator[s3fs.S3FileSystem]:
    """Serve S3 with one bucket, `shop`, during a block; the environment names its address."""
    starts_service("an S3 server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ALLOW_HTTP": "true",
    }
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        try:
            for _ in range(300):
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            s3fs.S3FileSystem.clear_instance_cache()  # the clients of another test know another port
            store = fsspec.filesystem("s3")
            store.endpoint = f"http://127.0.0.1:{port}"
            store.mkdir("shop")
            yield store
        finally:
            server.terminate()
            server.wait(20)

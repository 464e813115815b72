"""A body is unpacked in bounded memory."""

from __future__ import annotations

import gzip
import tracemalloc

import pytest

from lastaisle.web.body import _unpack
from lastaisle.web.refusal import RefusedError


def test_a_bomb_is_refused_before_it_is_unpacked():
    bomb = gzip.compress(b" " * (50 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError):
            _unpack(bomb, 100_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 1, 99_999, 100_000])
def test_what_fits_is_unpacked_whole(size):
    assert _unpack(gzip.compress(b"x" * size), 100_000) == b"x" * size

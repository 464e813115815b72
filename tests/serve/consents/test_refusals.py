"""The newest decision of many shoppers in little memory; a plain dictionary says what is right."""

import random
import tracemalloc

import numpy as np
import pytest

from lastaisle.serve.consents import refusals as module
from lastaisle.serve.consents.refusals import Decided, Refusals, rank_of

ANNA, BEN, LOW, HIGH = "a" * 32, "b" * 32, "0" * 32, "f" * 32


def decided(*given):
    names, times, granted = zip(*given, strict=True)
    return Decided.of(names, rank_of(np.array(times), np.array(granted, np.int64)))


def test_the_newest_decision_counts_and_among_equal_times_the_refusal():
    known = Refusals()
    assert ANNA not in known
    known.extend([decided((ANNA, 5, True), (BEN, 5, False)), decided((ANNA, 3, False), (BEN, 4, True))])
    assert ANNA not in known and BEN in known
    known.add({ANNA: rank_of(5, False), BEN: rank_of(5, True)})
    assert ANNA in known and BEN in known
    known.add({ANNA: rank_of(6, True), HIGH: rank_of(1, False), LOW: rank_of(1, False)})
    assert ANNA not in known and HIGH in known and LOW in known


def test_names_with_zero_bytes_are_names_of_their_own():
    """NumPy drops zero bytes at the end of a text."""
    similar = ["ab" + "0" * 30, "ab00" + "0" * 28, "abcd" + "0" * 28, "ab" + "0" * 29 + "1"]
    known = Refusals()
    known.extend([decided((similar[0], 1, False), (similar[2], 1, True))])
    assert [name in known for name in similar] == [True, True, False, False]
    assert len(known) == 2


def test_decisions_that_are_forgotten_are_gone():
    known = Refusals()
    known.extend([decided((ANNA, 5, False))])
    known.add({BEN: rank_of(5, False)})
    known.extend([decided((HIGH, 1, False))], anew=True)
    assert [name in known for name in (ANNA, BEN, HIGH)] == [False, False, True]
    known.extend([], anew=True)
    assert HIGH not in known


@pytest.mark.parametrize("seed", range(3))
def test_many_decisions_in_any_order_and_portion_are_as_a_dictionary_says(seed, monkeypatch):
    monkeypatch.setattr(module, "RECENT", 30)
    chance = random.Random(seed)
    names = [f"{chance.getrandbits(128):032x}" for _ in range(80)]
    known, expected = Refusals(), dict[str, tuple[int, bool]]()
    for _ in range(60):
        some = [
            (chance.choice(names), chance.randrange(50), chance.random() < 0.5)
            for _ in range(chance.randrange(1, 9))
        ]
        if chance.random() < 0.5:
            known.extend([decided(*some)])
        else:
            for name, time, granted in some:
                known.add({name: rank_of(time, granted)})
        for name, time, granted in some:
            expected[name] = max(expected.get(name, (-1, False)), (time, not granted))
        assert {name for name in names if name in known} == {
            name for name, (_, refuses) in expected.items() if refuses
        }


def test_a_million_shoppers_take_less_than_100_mb():
    generator = np.random.default_rng(1)
    count = 1_000_000
    names = np.frombuffer(generator.bytes(16 * count), "S16")
    tracemalloc.start()
    known = Refusals()
    known.extend([Decided(names, rank_of(np.arange(count), 0))])
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(known) == count
    assert names[77].ljust(16, b"\0").hex() in known
    assert held < 30e6, f"{held / 1e6:.0f} MB"
    assert peak < 100e6, f"{peak / 1e6:.0f} MB"

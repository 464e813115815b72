"""Which arm a shopper belongs to: the same answer in the service, in a notebook and in SQL.

A shopper's pseudonym (the visit's, where there is none) and a salt give one of 10,000 buckets. An arm owns
ranges of buckets. From phase to phase an arm keeps its buckets as long as its share does not shrink, so its
shoppers stay with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

BUCKETS: Final = 10_000
_DIGITS: Final = 13  # hexadecimal digits of the hash: 52 bits, the same number in every language


class Range(NamedTuple):
    """Buckets of one arm.

    Attributes:
        arm: the name of the arm.
        first: the first bucket.
        end: the bucket after the last.
    """

    arm: str
    first: int
    end: int


def bucket_of(salt: str, unit: str) -> int:
    """Return the bucket of a unit, from 0 to 9,999.

    Args:
        salt: the name of the layer or the experiment; other salts give independent buckets.
        unit: the pseudonym of the shopper or of the visit.
    """
    digest = hashlib.sha256(f"{salt}:{unit}".encode()).hexdigest()
    return int(digest[:_DIGITS], 16) % BUCKETS


def bucket_sql(salt: str, unit: str) -> str:
    """Return DuckDB SQL of `bucket_of`; `unit` is SQL of the pseudonym."""
    prefix = f"{salt}:".replace("'", "''")
    return f"(('0x' || left(sha256('{prefix}' || {unit}), {_DIGITS}))::UBIGINT % {BUCKETS})::INTEGER"


def arm_at(ranges: Sequence[Range], bucket: int) -> str | None:
    """Return the arm that owns a bucket; None if no arm does."""
    return next((arm for arm, first, end in ranges if first <= bucket < end), None)


def arm_sql(ranges: Sequence[Range], bucket: str) -> str:
    """Return SQL of `arm_at`; `bucket` is SQL of the bucket."""
    cases = " ".join(
        f"WHEN {bucket} >= {first} AND {bucket} < {end} THEN '{arm}'" for arm, first, end in ranges
    )
    return f"CASE {cases} END" if cases else "NULL"


def ranges_of_phases(phases: Sequence[Mapping[str, float]]) -> list[tuple[Range, ...]]:
    """Return the buckets of each arm in each phase.

    An arm that grows keeps its buckets and gets free ones; an arm that shrinks gives its last buckets back.

    Args:
        phases: for each phase the share of each arm, of all shoppers of the experiment; together at most 1.

    Raises:
        ValueError: the shares of a phase are more than all shoppers, or a share is below 0.
    """
    owners: list[str | None] = [None] * BUCKETS
    made = []
    for phase in phases:
        wanted = _whole(phase)
        for arm in {owner for owner in owners if owner is not None}:
            held = [bucket for bucket, owner in enumerate(owners) if owner == arm]
            for bucket in held[wanted.get(arm, 0) :]:
                owners[bucket] = None
        free = iter([bucket for bucket, owner in enumerate(owners) if owner is None])
        for arm, count in wanted.items():
            for _ in range(count - owners.count(arm)):
                owners[next(free)] = arm
        made.append(_ranges(owners))
    return made


def _whole(shares: Mapping[str, float]) -> dict[str, int]:
    """Return shares as whole buckets, without a bucket more than all arms ask for together."""
    if min(shares.values(), default=0.0) < 0 or sum(shares.values()) > 1 + 1e-9:
        raise ValueError(f"the shares of a phase should be 0 or more and at most 1 together: {dict(shares)}")
    wanted, given, asked = dict[str, int](), 0, 0.0
    for arm, share in shares.items():
        asked += share
        wanted[arm] = round(asked * BUCKETS) - given
        given += wanted[arm]
    return wanted


def _ranges(owners: Sequence[str | None]) -> tuple[Range, ...]:
    """Join neighbouring buckets of one arm."""
    ranges: list[Range] = []
    for bucket, owner in enumerate(owners):
        if ranges and ranges[-1].end == bucket and ranges[-1].arm == owner:
            ranges[-1] = ranges[-1]._replace(end=bucket + 1)
        elif owner is not None:
            ranges.append(Range(owner, bucket, bucket + 1))
    return tuple(ranges)

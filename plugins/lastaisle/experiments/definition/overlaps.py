"""Which trials may run at once: a list belongs to one trial, a shopper to one trial of a layer."""

from __future__ import annotations

from lastaisle.experiments.definition.definition import overlapping_buckets
from lastaisle.experiments.traffic import Trial
from lastaisle.yaml_file import Steps


def overlap(one: Trial, other: Trial) -> tuple[Steps, str] | None:
    """Return the key of `one` that keeps two trials from running at once, and why; None if both may run.

    Trials that never run at the same time do not disturb each other.
    """
    if not _at_once(one, other):
        return None
    if one.layer == other.layer:
        if not overlapping_buckets(one.buckets, other.buckets):
            return None
        first, end = other.buckets
        return (
            ("buckets",),
            f"{list(one.buckets)} overlap with [{first}, {end}] of {other.name} in the layer {one.layer}: "
            "take other buckets, or another time",
        )
    places = _shared_placements(one, other)
    if places is None:
        return None
    return (
        ("layer",),
        f"the layer {one.layer} and the layer {other.layer} of {other.name} meet {places}, and a list "
        f"belongs to one trial: take the layer {other.layer} with other buckets, or other placements",
    )


def _at_once(one: Trial, other: Trial) -> bool:
    """Tell whether there is a moment at which both run."""
    return (one.stops_at is None or other.starts_at < one.stops_at) and (
        other.stops_at is None or one.starts_at < other.stops_at
    )


def _shared_placements(one: Trial, other: Trial) -> str | None:
    """Return where the lists of two trials are shown both, in words; None if nowhere."""
    if not one.placements and not other.placements:
        return "everywhere"
    shared = set(one.placements or other.placements) & set(other.placements or one.placements)
    return f"at {', '.join(sorted(shared))}" if shared else None

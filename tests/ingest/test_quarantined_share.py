"""The share of broken rows that the gate asks for, of files that were really ingested."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.evaluation.quarantine import missing_rows

DAY = (datetime(2025, 10, 9, tzinfo=UTC), datetime(2025, 10, 10, tzinfo=UTC))


def broken(shop, number):
    return shop.event(number, price=-1)


def test_a_grown_file_is_judged_by_its_new_rows_and_a_repaired_file_by_its_last_state(shop):
    sound = [shop.event(number) for number in range(10)]
    grown = [*sound, *(broken(shop, number) for number in range(10, 15))]
    repaired = [shop.event(number) for number in range(16)]
    shares = []
    for hour, lines in enumerate((sound, grown, [*grown, shop.event(15)], repaired)):
        shop.ingest(shop.write(lines, "day.jsonl"), now=DAY[1] + timedelta(hours=hour))
        shares.append(missing_rows(shop.lake, *DAY, None).share)
    assert shares == pytest.approx([0.0, 5 / 15, 5 / 16, 0.0])


@pytest.mark.parametrize("names", [("a.jsonl", "b.jsonl"), ("b.jsonl", "a.jsonl")])
def test_a_wholly_broken_file_counts_with_all_of_its_rows(shop, names):
    sound, bad = names
    logs = shop.folder / "logs"
    logs.mkdir()
    shop.write([shop.event(number) for number in range(30)], f"logs/{sound}")
    shop.write([broken(shop, number) for number in range(30, 40)], f"logs/{bad}")
    assert shop.ingest(str(logs)).rows_quarantined == 10
    assert missing_rows(shop.lake, *DAY, None).share == pytest.approx(0.25)

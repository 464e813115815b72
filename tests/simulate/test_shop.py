import hashlib
import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby, pairwise

import numpy as np
import pytest

from lastaisle.simulate import ShopOptions, ShopOptionsError, simulate, write_logs
from lastaisle.simulate.breaks import break_days
from lastaisle.simulate.catalogue import open_catalogue
from lastaisle.simulate.events import EVENT_TYPES
from lastaisle.simulate.noise import BREAKS

SMALL = ShopOptions(days=3, sessions_per_day=400, items=300, new_items_per_day=10)
QUIET = replace(SMALL, broken=0, late=0, duplicates=0, bots=0)


def digest(options):
    lines = [line for logs in simulate(options) for line in logs.lines]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def events_of(options):
    return [json.loads(line) for logs in simulate(options) for line in logs.lines]


def when(event, field="occurred_at"):
    return datetime.fromisoformat(event[field])


def in_sessions(events):
    labelled = [event for event in events if "session_id" in event]
    for _, rows in groupby(
        sorted(labelled, key=lambda e: (e["session_id"], e["occurred_at"])), lambda e: e["session_id"]
    ):
        yield list(rows)


@pytest.fixture(scope="module")
def quiet():
    return events_of(QUIET)


def test_equal_seeds_give_equal_bytes_and_other_seeds_give_other_bytes():
    assert digest(SMALL) == digest(SMALL)
    assert digest(SMALL) != digest(replace(SMALL, seed=8))


def test_a_day_does_not_depend_on_the_number_of_later_days():
    short, long = simulate(replace(SMALL, days=2)), simulate(SMALL)
    for first, second in zip(short, long, strict=False):
        assert first == second


def test_every_event_type_occurs_and_every_identifier_is_marked_as_simulated(quiet):
    assert {event["event_type"] for event in quiet} == set(EVENT_TYPES)
    for event in quiet:
        names = [
            event[field]
            for field in ("event_id", "user_id", "session_id", "item_id", "order_id")
            if field in event
        ]
        assert all(name.startswith("sim-") for name in names)
        assert "user_id" in event or "session_id" in event


def test_clean_events_have_the_fields_that_their_type_needs(quiet):
    for event in quiet:
        assert event["event_type"] not in ("item_viewed", "item_added", "item_removed") or event["item_id"]
        assert (event["event_type"] == "order_completed") == ("order_id" in event)
        assert event.get("price", 1.0) > 0
        assert event.get("quantity", 1) >= 1
        assert event["consent"]["analytics"] or not event["consent"]["personalization"]
        assert timedelta(0) <= when(event, "received_at") - when(event) < timedelta(minutes=1)


def test_carts_checkouts_and_orders_follow_each_other(quiet):
    outcomes = Counter()
    for session in in_sessions(quiet):
        kinds = [event["event_type"] for event in session]
        added = {e["item_id"] for e in session if e["event_type"] == "item_added"}
        removed = {e["item_id"] for e in session if e["event_type"] == "item_removed"}
        ordered = {e["item_id"] for e in session if e["event_type"] == "order_completed"}
        viewed = {e["item_id"] for e in session if e["event_type"] == "item_viewed"}
        assert added <= viewed
        assert removed <= added
        assert ordered in (set(), added - removed)
        if ordered or "checkout_abandoned" in kinds:
            assert kinds.count("checkout_started") == 1
        if "checkout_started" in kinds:
            outcome = "ordered" if ordered else "abandoned" if "checkout_abandoned" in kinds else "silent"
            outcomes[outcome] += 1
    assert min(outcomes[o] for o in ("ordered", "abandoned", "silent")) > 0


def test_sessions_never_pause_for_thirty_minutes(quiet):
    for session in in_sessions(quiet):
        times = [when(event) for event in session]
        assert all(b - a < timedelta(minutes=30) for a, b in pairwise(times))


def test_new_items_come_every_day_and_are_viewed(quiet):
    items_of_day = [
        {json.loads(line).get("item_id", "sim-00000") for line in logs.lines} for logs in simulate(QUIET)
    ]
    assert [logs.truth.items for logs in simulate(QUIET)] == [300, 310, 320]
    assert not any(item >= "sim-00300" for item in items_of_day[0])
    assert len({item for item in items_of_day[2] if item >= "sim-00300"}) > 5


def test_seasons_move_demand():
    catalogue = open_catalogue(SMALL)
    summer, winter = catalogue.shelf_weights(date(2025, 6, 1)), catalogue.shelf_weights(date(2025, 12, 15))
    of_category = {catalogue.category(item): int(catalogue.shelf[item]) for item in range(len(catalogue))}
    ski, garden = of_category["sports.ski"], of_category["garden.furniture"]
    assert winter[ski] > 5 * summer[ski]
    assert summer[garden] > 5 * winter[garden]


def test_truth_agrees_with_a_count_of_the_lines():
    noisy = replace(SMALL, broken=0.05, late=0.05, duplicates=0.05)
    earlier, late = set(), Counter()
    for logs in simulate(noisy):
        truth = logs.truth
        repeated = sum(
            line in earlier or earlier.add(line) is not None
            for line in dict.fromkeys(logs.lines)
            if line[0] == "{"
        )
        inside = len(logs.lines) - len(set(logs.lines))
        html = truth.broken["not_json"]
        assert truth.rows == len(logs.lines) == truth.clean + truth.duplicates + sum(truth.broken.values())
        assert truth.duplicates == repeated + inside - max(html - 1, 0)
        assert set(truth.broken) == set(BREAKS)
        assert truth.broken["far_future"] == sum('"2999-' in line for line in logs.lines)
        assert truth.broken["price_is_text"] == sum('"price":"cheap"' in line for line in logs.lines)
        late[logs.day] = truth.late
        arrivals = [line.split('"received_at":"')[1][:10] for line in logs.lines if '"received_at":"' in line]
        assert sum(day > logs.day.isoformat() for day in arrivals) == 0
    assert late.total() > 50


def test_no_damaged_row_is_a_clean_event(quiet):
    for kind in EVENT_TYPES:
        line = json.dumps(next(e for e in quiet if e["event_type"] == kind), separators=(",", ":"))
        for name, damage in BREAKS.items():
            broken = damage(line)
            if name in ("truncated_json", "not_json"):
                with pytest.raises(json.JSONDecodeError):
                    json.loads(broken)
                continue
            event = json.loads(broken)
            damaged = {
                "unknown_event_type": event["event_type"] not in EVENT_TYPES,
                "no_event_id": "event_id" not in event,
                "nobody": not {"user_id", "session_id"} & set(event),
                "order_without_id": event["event_type"] == "order_completed" and "order_id" not in event,
                "view_without_item": event["event_type"] == "item_viewed" and "item_id" not in event,
                "price_is_text": event.get("price") == "cheap",
                "negative_price": isinstance(event.get("price"), float) and event["price"] < 0,
                "zero_quantity": event.get("quantity") == 0,
                "bad_time": event["occurred_at"] == "yesterday",
                "far_future": event["occurred_at"].startswith("2999"),
            }
            assert [damage_name for damage_name, is_there in damaged.items() if is_there] == [name], kind


def test_a_late_row_arrives_within_the_day_of_its_folder():
    for logs in simulate(replace(QUIET, late=0.2)):
        for line in logs.lines:
            arrived = when(json.loads(line), "received_at")
            assert arrived.astimezone(UTC).date() == logs.day


def test_bots_read_hundreds_of_items_fast():
    options = replace(QUIET, bots=0.02, days=1)
    (logs,) = simulate(options)
    sizes = Counter(json.loads(line).get("session_id") for line in logs.lines)
    assert logs.truth.bots > 0
    assert sum(size > 200 for name, size in sizes.items() if name) == pytest.approx(logs.truth.bots, abs=2)


def test_default_shop_follows_the_real_logs():
    # benchmarks/simulator_realism.py has the real figures; these bounds only keep the shop near them.
    sessions = [
        [e["item_id"] for e in session if e["event_type"] == "item_viewed"]
        for session in in_sessions(
            events_of(replace(ShopOptions(), days=4, broken=0, late=0, duplicates=0, bots=0))
        )
    ]
    sessions = [session for session in sessions if len(session) > 1]
    lengths = np.array([len(session) for session in sessions])
    clicks = np.sort(np.array(list(Counter(item for s in sessions for item in s).values())))[::-1]
    assert 3.7 < lengths.mean() < 4.2
    assert np.median(lengths) == 3
    assert 16 <= np.quantile(lengths, 0.99) <= 20
    assert 0.24 < 1 - sum(len(set(s)) for s in sessions) / lengths.sum() < 0.30
    assert 0.5 < clicks[: len(clicks) // 10].sum() / clicks.sum() < 0.7


def test_the_session_tells_more_than_its_last_item():
    """All items of a session predict its next item better than the last item alone."""
    days = [
        [json.loads(line) for line in logs.lines]
        for logs in simulate(replace(QUIET, days=4, sessions_per_day=2500, items=600, single_view=0))
    ]
    follow = np.zeros((700, 700))
    walks = [[[int(e["item_id"][4:]) for e in s if "item_id" in e] for s in in_sessions(day)] for day in days]
    for walk in (walk for day in walks[:3] for walk in day):
        for item, next_item in pairwise(walk):
            follow[item, next_item] += 1
    popular = set(np.argsort(-follow.sum(axis=0))[:10].tolist())
    scaled = follow / np.sqrt(1 + follow.sum(axis=1, keepdims=True))
    hits = Counter()
    for walk in walks[3]:
        for end in range(2, len(walk)):
            hits["targets"] += 1
            hits["popularity"] += walk[end] in popular
            hits["last"] += walk[end] in np.argsort(-scaled[walk[end - 1]])[:10]
            recent = sum(0.8**age * scaled[item] for age, item in enumerate(walk[end - 1 :: -1][:6]))
            hits["session"] += walk[end] in np.argsort(-recent)[:10]
    assert hits["last"] > 1.5 * hits["popularity"]
    assert hits["session"] > 1.03 * hits["last"]


def test_logs_get_one_folder_for_each_day_and_the_report_adds_up(tmp_path):
    written = []
    report = write_logs(tmp_path, SMALL, progress=lambda day, truth: written.append((day, truth.rows)))
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*") if path.is_file())
    assert files == [f"2025-10-0{day}/simulated-part-0.jsonl" for day in (1, 2, 3)]
    rows = [len((tmp_path / file).read_text().splitlines()) for file in files]
    assert [count for _, count in written] == rows
    summary = report.as_dict()
    assert summary["simulated"] is True
    assert summary["rows"] == sum(rows) == summary["clean"] + summary["duplicates"] + summary["broken"]
    assert summary["bytes"] == sum((tmp_path / file).stat().st_size for file in files)
    assert json.loads(json.dumps(summary))["days"]["2025-10-02"]["new_items"] == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"days": 0}, "days should be at least 1, received 0"),
        ({"items": 10}, "items should be at least 50, received 10"),
        ({"bots": 1.5}, "bots should be a share between 0 and 1, received 1.5"),
        ({"broken": 0.7, "late": 0.6}, "add up to at most 1, received 0.7 + 0.6"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ShopOptionsError) as caught:
        ShopOptions(**options)
    assert message in str(caught.value)


def test_a_shop_may_have_one_session_a_day():
    logs = list(
        simulate(ShopOptions(days=20, sessions_per_day=1, items=50, broken=0.5, late=0.5, duplicates=1.0))
    )
    assert len(logs) == 20
    assert sum(day.truth.rows for day in logs) > 20


def test_an_eventful_shop_launches_items_raises_prices_and_changes_tastes():
    eventful = replace(QUIET, days=8, eventful=True, new_items_per_day=0, sessions_per_day=600)
    day_of = break_days(8)
    assert day_of == {"launch": 2, "price_shock": 4, "taste_break": 6}
    days = list(simulate(eventful))
    assert [logs.truth.new_items for logs in days] == [0, 0, 45, 0, 0, 0, 0, 0]
    rows = [[json.loads(line) for line in logs.lines] for logs in days]

    def prices(day):
        return {row["item_id"]: row["price"] for row in rows[day] if row["event_type"] == "item_viewed"}

    ratios = [prices(4)[item] / price for item, price in prices(3).items() if item in prices(4)]
    assert np.median(ratios) == pytest.approx(1.3, abs=0.01)
    dearness = [np.median(np.log(list(prices(day).values()))) for day in (3, 4)]
    assert dearness[1] - dearness[0] < np.log(1.3) - 0.05, (
        "viewed items got cheaper, beside the rise of prices"
    )

    def pairs(day):
        return Counter(
            (before["item_id"], after["item_id"])
            for session in in_sessions(rows[day])
            for before, after in pairwise(e for e in session if e["event_type"] == "item_viewed")
            if before["item_id"] != after["item_id"]
        )

    def shared(first, second):
        return sum((pairs(first) & pairs(second)).values()) / sum(pairs(second).values())

    assert shared(5, 6) < 0.85 * shared(6, 7), "other items follow each item now"
    assert digest(eventful) != digest(replace(eventful, eventful=False))


def test_a_device_in_the_place_of_a_file_is_written_and_never_replaced(tmp_path):
    """A rename to /dev/null by the administrator would put a file there, for every program of the machine."""
    device = tmp_path / "device"
    device.symlink_to("/dev/null")
    write_logs(tmp_path / "logs", replace(SMALL, days=1), catalogue=device)
    assert device.is_symlink()
    assert device.is_char_device()
    assert list(tmp_path.glob(".*")) == []

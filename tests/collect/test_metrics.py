"""The collector's series keep their names, labels and kinds."""

from lastaisle.collect.metrics import Metrics


def test_every_series_stands_under_its_name():
    metrics = Metrics()
    metrics.stored("batch", 3, 120, 0.002)
    metrics.refused("busy")
    lines = metrics.render(waiting=7).decode().splitlines()
    for line in (
        "# TYPE lastaisle_collect_accepted_total counter",
        'lastaisle_collect_accepted_total{endpoint="batch"} 3.0',
        "# TYPE lastaisle_collect_refused_total counter",
        'lastaisle_collect_refused_total{reason="busy"} 1.0',
        "# TYPE lastaisle_collect_bytes_total counter",
        "lastaisle_collect_bytes_total 120.0",
        "# TYPE lastaisle_collect_waiting_bytes gauge",
        "lastaisle_collect_waiting_bytes 7.0",
        "# TYPE lastaisle_collect_sink_seconds histogram",
        'lastaisle_collect_sink_seconds_bucket{le="0.001"} 0.0',
        'lastaisle_collect_sink_seconds_bucket{le="0.0025"} 1.0',
        'lastaisle_collect_sink_seconds_bucket{le="+Inf"} 1.0',
        "lastaisle_collect_sink_seconds_sum 0.002",
        "lastaisle_collect_sink_seconds_count 1.0",
    ):
        assert line in lines, "\n".join(lines)
    assert not any("_created" in line for line in lines)


def test_two_applications_of_one_process_count_apart():
    first, second = Metrics(), Metrics()
    first.refused("busy")
    assert b'reason="busy"' not in second.render(0)

import pytest

from lastaisle.errors import SourceError
from lastaisle.evaluation.benchmark import benchmark_accuracy, read_pairs, read_sessions


@pytest.fixture
def split(tmp_path):
    (tmp_path / "train.txt").write_text("1 2 3\n1 2\n\n4 1 2\n")
    (tmp_path / "test.tsv").write_text("4 1\t2\n4\t1\n9\t2\n1\tnew\n")
    return tmp_path / "train.txt", tmp_path / "test.tsv"


@pytest.mark.training
def test_the_report_has_all_figures(split):
    calls = []
    report = benchmark_accuracy(
        *split, model="cooccurrence", options={"half_life": None}, progress=lambda *call: calls.append(call)
    )
    assert report["model"] == "cooccurrence"
    assert (report["targets"], report["items"]) == (4, 4)
    for name in ("train_seconds", "targets_per_second", "evaluate_seconds", "predictions_per_second"):
        assert report[name] > 0
    assert report["peak_rss_mib"] > 1
    assert (
        report["metrics"]["hit_rate@1"] == 2 / 4
    )  # 9 is unknown and popular items start with 1; new is a miss
    assert report["metrics"]["mrr@20"] == (1 + 1 + 1 / 2) / 4
    assert {f"coverage@{k}" for k in (1, 5, 10, 20)} < set(report["metrics"])
    assert calls[-1][0] == 1.0


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "pairs").write_text("1 2\t3\n1 2 3\n")
    with pytest.raises(SourceError, match="cannot read"):
        read_sessions(tmp_path / "missing")
    with pytest.raises(SourceError, match="no sessions"):
        read_sessions(tmp_path / "empty")
    with pytest.raises(SourceError, match="line 2"):
        read_pairs(tmp_path / "pairs")

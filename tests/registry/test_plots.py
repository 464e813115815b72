"""The plots of a run can be read in MLflow: text of a fair size, and no text over another."""

from datetime import UTC, datetime

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lastaisle.evaluation.plots import comparison, slice_bars
from lastaisle.evaluation.report import Estimate, Evaluation, EvaluationReport, Scores
from lastaisle.training.similar import draw_clusters
from lastaisle.training.train import loss_curve

NOON = datetime(2025, 10, 9, 12, tzinfo=UTC)
SLICES = (
    "short_sessions",
    "long_sessions",
    "cold_items",
    "returning",
    "first_time",
    "next_cart",
    "abandoned",
)
ROLES = ("candidate", "champion", "anchor", "popularity", "repeat", "cooccurrence")


def report():
    scores = Scores(12_345, dict.fromkeys(("recall@20", "mrr@20", "recall@5"), Estimate(0.61, 0.5, 0.7)))
    models = {role: Evaluation(role, scores, dict.fromkeys(SLICES, scores), "1", scores) for role in ROLES}
    return EvaluationReport("r", "k", NOON, NOON, 9_876, 12_345, "1", 0.8, models)


PLOTS = {
    "comparison": lambda: comparison(report()),
    "slices": lambda: slice_bars(report()),
    "one epoch": lambda: loss_curve((2.6789,)),
    "three epochs": lambda: loss_curve((2.6789, 2.4, 2.39)),
    "fifty epochs": lambda: loss_curve(tuple(3 * 0.95**epoch for epoch in range(50))),
    "clusters": lambda: draw_clusters([{"abandoned": 3, "similar": 1, "items": ["name " * 20]}] * 12),
}


def texts(figure):
    """Return the texts of a drawn figure that are seen, with their boxes in pixels."""
    axes, renderer = figure.axes[0], FigureCanvasAgg(figure).get_renderer()
    figure.canvas.draw()
    low, high = sorted(axes.get_xlim())
    bottom, top = sorted(axes.get_ylim())
    shown = [axes.xaxis.label, axes.yaxis.label, *axes.texts]
    shown += [label for label in axes.get_xticklabels() if low <= label.get_position()[0] <= high]
    shown += [label for label in axes.get_yticklabels() if bottom <= label.get_position()[1] <= top]
    shown += [text for legend in figure.legends for text in legend.get_texts()]
    return [(text, text.get_window_extent(renderer)) for text in shown if text.get_text()]


@pytest.mark.parametrize("name", PLOTS)
def test_text_is_large_enough_inside_the_picture_and_not_over_other_text(name):
    figure = PLOTS[name]()
    width, height = figure.get_size_inches() * figure.dpi
    assert width >= 900
    found = texts(figure)
    for place, (text, box) in enumerate(found):
        assert text.get_fontsize() * figure.dpi / 72 >= 15, text
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, text
        for other, another in found[place + 1 :]:
            assert not (box.shrunk(0.9, 0.9).overlaps(another.shrunk(0.9, 0.9))), (text, other)


def test_a_warm_start_shows_the_loss_of_each_epoch():
    axes = loss_curve((2.6789, 2.4)).axes[0]
    assert axes.get_title(loc="left") == "Training loss: 2.4 after 2 epochs"
    assert [text.get_text() for text in axes.texts] == ["2.679", "2.4"]
    assert list(axes.get_xticks()) == [1, 2]
    assert loss_curve((2.5,)).axes[0].get_title(loc="left") == "Training loss: 2.5 after 1 epoch"

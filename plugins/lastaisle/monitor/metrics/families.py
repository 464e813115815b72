"""The metrics of the pipeline: their names, kinds, labels and meanings.

Each value is read from the lake or from MLflow, where the steps of the pipeline keep it. Labels have few
values: no label names a shopper, a session, an item or a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

TOTAL: Final = "_total"
"""The end of a counter's name."""


@dataclass(frozen=True)
class Family:
    """A metric.

    Attributes:
        name: its name, with its unit at the end.
        help: its meaning.
        labels: the names of its labels.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()

    @property
    def kind(self) -> Literal["counter", "gauge"]:
        """Whether the metric counts up, or goes up and down."""
        return "counter" if self.name.endswith(TOTAL) else "gauge"


@dataclass(frozen=True)
class Sample:
    """A value of a metric.

    Attributes:
        family: the metric.
        value: the value.
        labels: the values of the metric's labels, in their order.
    """

    family: Family
    value: float
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.labels) != len(self.family.labels):
            raise ValueError(
                f"{self.family.name} has the labels {self.family.labels}, received {self.labels}"
            )


_FEED: Final = ("feed", "source")
INGEST_ROWS: Final = Family(
    "lastaisle_ingest_rows_total",
    "Rows that ingestion read, by what became of them: clean, quarantined, duplicate or ignored.",
    (*_FEED, "outcome"),
)
INGEST_LATE: Final = Family(
    "lastaisle_ingest_late_rows_total",
    "Clean rows that came after their time, which clean counts too.",
    _FEED,
)
INGEST_BATCHES: Final = Family("lastaisle_ingest_batches_total", "Batches that ingestion took in.", _FEED)
INGEST_NEWEST: Final = Family(
    "lastaisle_ingest_newest_event_timestamp_seconds", "The time of the newest row of a source.", _FEED
)
INGEST_ARRIVAL: Final = Family(
    "lastaisle_ingest_last_arrival_timestamp_seconds", "When ingestion last took in rows of a source.", _FEED
)
INGEST_REFUSED: Final = Family(
    "lastaisle_ingest_refused_files_total", "Files of logs that were refused as a whole, each state once."
)
INGEST_LOST: Final = Family(
    "lastaisle_ingest_lost_messages_total", "Messages that Kafka deleted before ingestion read them."
)

TRAINING_RUNS: Final = Family("lastaisle_training_runs_total", "Trainings that ended well.", ("kind",))
TRAINING_SUCCESS: Final = Family(
    "lastaisle_training_last_success_timestamp_seconds", "When a training last ended well.", ("kind",)
)
TRAINING_SECONDS: Final = Family(
    "lastaisle_training_last_seconds", "How long the last training learned.", ("kind",)
)
TRAINING_SESSIONS: Final = Family(
    "lastaisle_training_last_sessions", "The sessions from which the last training learned.", ("kind",)
)
TRAINING_UNFINISHED: Final = Family(
    "lastaisle_training_unfinished_runs",
    "Runs in MLflow that are no finished training, by state: running, dead (its process is gone) or failed.",
    ("state",),
)
TRAINING_FAILURE: Final = Family(
    "lastaisle_training_last_failure_timestamp_seconds",
    "When the newest training that failed or died began; a repeated training takes its failures away.",
)
TRAINING_OLDEST: Final = Family(
    "lastaisle_training_oldest_running_timestamp_seconds",
    "When the oldest training that still runs began; missing while none runs.",
)

GATE_DECISIONS: Final = Family(
    "lastaisle_gate_decisions_total",
    "Decisions of the gate, by verdict: promote, refuse, shadow or canary.",
    ("verdict",),
)
GATE_REFUSALS: Final = Family(
    "lastaisle_gate_refusals_in_a_row", "The gate's refusals since its last other decision."
)
RELEASE_MOVES: Final = Family(
    "lastaisle_release_moves_total",
    "Rows of the ledger, by action: register, promote, refuse, rollback, lost and others.",
    ("action",),
)
CHAMPION: Final = Family(
    "lastaisle_champion_info", "The version that serves; the value is always 1.", ("version",)
)
CHAMPION_SINCE: Final = Family(
    "lastaisle_champion_since_timestamp_seconds", "When the champion became champion."
)
CHAMPION_LEARNED: Final = Family(
    "lastaisle_champion_learned_until_timestamp_seconds",
    "The end of the window from which the champion learned.",
)
CHAMPION_RECALL: Final = Family(
    "lastaisle_champion_recall_at_20_ratio", "recall@20 of the champion in its evaluation before the release."
)

_PLACE: Final = ("placement", "period")
SHOP_END: Final = Family(
    "lastaisle_shop_period_end_timestamp_seconds",
    "The end of the last full hour, and of the last full day (UTC), that has figures of the shop.",
    ("period",),
)
SHOP_EXPOSURES: Final = Family(
    "lastaisle_shop_exposures", "Items shown in the last full hour or day.", _PLACE
)
SHOP_SESSIONS: Final = Family(
    "lastaisle_shop_sessions", "Sessions with a list in the last full hour or day.", _PLACE
)
SHOP_CTR: Final = Family("lastaisle_shop_ctr_ratio", "Share of the shown items that were clicked.", _PLACE)
SHOP_CART: Final = Family(
    "lastaisle_shop_add_to_cart_ratio", "Share of the shown items that were added to the cart.", _PLACE
)
SHOP_CONVERSION: Final = Family(
    "lastaisle_shop_conversion_ratio", "Share of the sessions with a list that ended with an order.", _PLACE
)
SHOP_ABANDONMENT: Final = Family(
    "lastaisle_shop_checkout_abandonment_ratio",
    "Share of the checkouts that were left without an order.",
    _PLACE,
)
SHOP_REVENUE: Final = Family(
    "lastaisle_shop_revenue",
    "Revenue of the sessions with a list, in the currency of the label.",
    (*_PLACE, "currency"),
)

DRIFT_DAY: Final = Family(
    "lastaisle_drift_day_timestamp_seconds", "The start of the newest day (UTC) that was compared."
)
DRIFT_ALARMS: Final = Family(
    "lastaisle_drift_alarms", "Features of that day that differ from the days before, over all segments."
)

PRIVACY_EPSILON: Final = Family(
    "lastaisle_privacy_epsilon",
    "What the private trainings of 365 days spent of the shopper, or the session, who spends most, at most: "
    "by RDP, which is quick. +Inf where nothing bounds it. Without a private training there is no value.",
    ("unit",),
)
PRIVACY_BUDGET: Final = Family(
    "lastaisle_privacy_epsilon_budget",
    "What they may spend (LASTAISLE_PRIVACY_EPSILON). Without a budget there is no value.",
)
PRIVACY_TRAININGS: Final = Family(
    "lastaisle_privacy_trainings", "The trainings of 365 days with noise and without.", ("noise",)
)

ALERTS_OPEN: Final = Family(
    "lastaisle_alerts_open", "Open alerts that nobody silenced, by severity.", ("severity",)
)
ALERTS_SILENCED: Final = Family("lastaisle_alerts_silenced", "Open alerts that somebody silenced.")

LAKE_ROWS: Final = Family("lastaisle_lake_rows", "Rows of a table.", ("table",))
LAKE_BYTES: Final = Family("lastaisle_lake_bytes", "Bytes of a table's present files.", ("table",))
LAKE_FILES: Final = Family("lastaisle_lake_files", "Present files of a table.", ("table",))
LAKE_VERSION: Final = Family("lastaisle_lake_version", "The newest version of a table.", ("table",))

UP: Final = Family(
    "lastaisle_up",
    "Whether a part of the metrics can be read now: 1, or 0. The other parts go on.",
    ("part",),
)
LEFT_OUT: Final = Family(
    "lastaisle_export_left_out",
    "Sources, placements and unreadable rows of a part that have no series of their own.",
    ("part",),
)
REFRESHED: Final = Family(
    "lastaisle_export_refreshed_timestamp_seconds",
    "When a part last looked whether its tables or MLflow have changed.",
    ("part",),
)

OF_INGESTION: Final = (
    *(INGEST_ROWS, INGEST_LATE, INGEST_BATCHES, INGEST_NEWEST, INGEST_ARRIVAL, INGEST_REFUSED, INGEST_LOST),
)
OF_TRAINING: Final = (
    *(TRAINING_RUNS, TRAINING_SUCCESS, TRAINING_SECONDS, TRAINING_SESSIONS),
    *(TRAINING_UNFINISHED, TRAINING_FAILURE, TRAINING_OLDEST),
)
OF_GATE: Final = (
    *(GATE_DECISIONS, GATE_REFUSALS, RELEASE_MOVES),
    *(CHAMPION, CHAMPION_SINCE, CHAMPION_LEARNED, CHAMPION_RECALL),
)
OF_SHOP: Final = (
    *(SHOP_END, SHOP_EXPOSURES, SHOP_SESSIONS, SHOP_CTR, SHOP_CART),
    *(SHOP_CONVERSION, SHOP_ABANDONMENT, SHOP_REVENUE),
)
OF_DRIFT: Final = (DRIFT_DAY, DRIFT_ALARMS)
OF_PRIVACY: Final = (PRIVACY_EPSILON, PRIVACY_BUDGET, PRIVACY_TRAININGS)
OF_ALERTS: Final = (ALERTS_OPEN, ALERTS_SILENCED)
OF_LAKE: Final = (LAKE_ROWS, LAKE_BYTES, LAKE_FILES, LAKE_VERSION)
OF_EXPORT: Final = (UP, LEFT_OUT, REFRESHED)
FAMILIES: Final = (
    *(*OF_INGESTION, *OF_TRAINING, *OF_GATE, *OF_SHOP, *OF_DRIFT, *OF_PRIVACY, *OF_ALERTS),
    *(*OF_LAKE, *OF_EXPORT),
)
"""All metrics."""

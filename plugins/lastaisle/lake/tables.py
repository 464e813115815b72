"""The tables: their names, their partitions, and the columns that the pipeline adds to a contract."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

RAW_EVENTS: Final = "raw_events"
QUARANTINE: Final = "quarantine"
BATCHES: Final = "batches"
EVENTS: Final = "events"
EXPOSURES: Final = "exposures"
TRAINING_RUNS: Final = "training_runs"
RELEASES: Final = "releases"
GAPS: Final = "gaps"
FILES: Final = "files"
REFUSED_FILES: Final = "refused_files"
DRIFT: Final = "drift"
ABANDONMENTS: Final = "abandonments"
ITEMS: Final = "items"
CATALOGUE_BATCHES: Final = "catalogue_batches"
EXPOSURE_BATCHES: Final = "exposure_batches"
OUTCOMES: Final = "outcomes"
UNATTRIBUTED: Final = "unattributed"
SHOP_METRICS: Final = "shop_metrics"
TRAFFIC: Final = "traffic"
EXPERIMENT_RESULTS: Final = "experiment_results"
BANDIT_ARMS: Final = "bandit_arms"
SERVICE_METRICS: Final = "service_metrics"
ANNOUNCEMENTS: Final = "announcements"
ALERTS: Final = "alerts"
CONSENTS: Final = "consents"
SUBJECT_REQUESTS: Final = "subject_requests"
ERASED: Final = "erased"
PRIVACY_SPENT: Final = "privacy_spent"
ACCESSES: Final = "accesses"
AUDITS: Final = "audits"
ALL_TABLES: Final = (
    *(RAW_EVENTS, QUARANTINE, BATCHES, EVENTS, EXPOSURES, TRAINING_RUNS, RELEASES),
    *(GAPS, FILES, REFUSED_FILES, DRIFT, ABANDONMENTS, ITEMS, CATALOGUE_BATCHES),
    *(EXPOSURE_BATCHES, OUTCOMES, UNATTRIBUTED, SHOP_METRICS),
    *(TRAFFIC, EXPERIMENT_RESULTS, BANDIT_ARMS, SERVICE_METRICS, ANNOUNCEMENTS, ALERTS),
    *(CONSENTS, SUBJECT_REQUESTS, ERASED, PRIVACY_SPENT, ACCESSES, AUDITS),
)

#: The partition columns of the partitioned tables: the UTC day of the event; in quarantine, of ingestion.
PARTITIONS: Final[dict[str, list[str]]] = {
    RAW_EVENTS: ["event_date"],
    QUARANTINE: ["event_date"],
    EVENTS: ["event_date"],
    EXPOSURES: ["event_date"],
    OUTCOMES: ["event_date"],
    UNATTRIBUTED: ["event_date"],
    SHOP_METRICS: ["event_date"],
    SERVICE_METRICS: ["event_date"],
}

TIMESTAMP: Final = pa.timestamp("us", tz="UTC")

#: What ingestion adds to the fields of the contracts of raw_events and exposures.
INGESTION_ADDED: Final = pa.schema(
    [
        pa.field("batch_id", pa.string()),
        pa.field("source_file", pa.string()),
        pa.field("source_row", pa.int64()),
        pa.field("sub_row", pa.int32()),
        pa.field("ingested_at", TIMESTAMP),
        pa.field("contract_version", pa.string()),
        pa.field("event_date", pa.date32()),
    ]
)

#: What anonymization adds to the fields of the events contract.
EVENTS_ADDED: Final = pa.schema(
    [
        pa.field("sequence", pa.int64()),
        pa.field("event_date", pa.date32()),
        pa.field("batch_id", pa.string()),
        pa.field("contract_version", pa.string()),
        pa.field("key_version", pa.int32()),
    ]
)

QUARANTINE_SCHEMA: Final = pa.schema(
    [
        pa.field("batch_id", pa.string()),
        pa.field("source_file", pa.string()),
        pa.field("source_row", pa.int64()),
        pa.field("sub_row", pa.int32()),
        pa.field("payload", pa.string()),
        pa.field("rules", pa.list_(pa.string())),
        pa.field("ingested_at", TIMESTAMP),
        pa.field("contract_version", pa.string()),
        pa.field("event_date", pa.date32()),
    ]
)

BATCHES_SCHEMA: Final = pa.schema(
    [
        pa.field("batch_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("source_file", pa.string()),
        pa.field("part", pa.int32()),
        pa.field("format", pa.string()),
        pa.field("rows_in", pa.int64()),
        pa.field("rows_clean", pa.int64()),
        pa.field("rows_quarantined", pa.int64()),
        pa.field("rows_duplicate", pa.int64()),
        pa.field("rows_ignored", pa.int64()),
        pa.field("rows_late", pa.int64()),
        pa.field("quarantined_by_rule", pa.string()),
        pa.field("ignored_by_reason", pa.string()),
        pa.field("fields", pa.string()),
        pa.field("personal_data", pa.string()),
        pa.field("change_accepted", pa.bool_()),
        pa.field("hours", pa.list_(pa.string())),
        pa.field("newest", TIMESTAMP),
        pa.field("shards", pa.int32()),
        pa.field("gx_success", pa.bool_()),
        pa.field("gx_problem", pa.string()),
        pa.field("contract_version", pa.string()),
        pa.field("started_at", TIMESTAMP),
        pa.field("finished_at", TIMESTAMP),
    ]
)

#: The files of which every batch was ingested, with their state at that time.
FILES_SCHEMA: Final = pa.schema(
    [
        pa.field("url", pa.string()),
        pa.field("format", pa.string()),
        pa.field("state", pa.string()),
        pa.field("size", pa.int64()),
        pa.field("rows_in", pa.int64()),
        pa.field("batch_ids", pa.list_(pa.string())),
        pa.field("taken_in_at", TIMESTAMP),
    ]
)

#: The files of logs that were refused as a whole, with their state at that time. `began_at` is the time of
#: the ingestion, as in batches. A file that was ingested after `refused_at` is in order again; see `files`.
REFUSED_FILES_SCHEMA: Final = pa.schema(
    [
        pa.field("url", pa.string()),
        pa.field("format", pa.string()),
        pa.field("state", pa.string()),
        pa.field("size", pa.int64()),
        pa.field("source", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("began_at", TIMESTAMP),
        pa.field("refused_at", TIMESTAMP),
    ]
)

#: Every move of a model version, oldest first by `entry`; see lastaisle.registry.ledger.Move. `chain` is a
#: digest of the row and of all rows before it.
RELEASES_SCHEMA: Final = pa.schema(
    [
        pa.field("entry", pa.int64()),
        pa.field("moved_at", TIMESTAMP),
        pa.field("move_id", pa.string()),
        pa.field("actor", pa.string()),
        pa.field("action", pa.string()),
        pa.field("model_name", pa.string()),
        pa.field("alias", pa.string()),
        pa.field("from_version", pa.string()),
        pa.field("to_version", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("run_id", pa.string()),
        pa.field("run_key", pa.string()),
        pa.field("digest", pa.string()),
        pa.field("decision", pa.string()),
        pa.field("chain", pa.string()),
    ]
)

#: Offsets of a topic that were deleted upstream before they were read.
GAPS_SCHEMA: Final = pa.schema(
    [
        pa.field("cluster", pa.string()),
        pa.field("topic", pa.string()),
        pa.field("topic_id", pa.string()),
        pa.field("partition", pa.int32()),
        pa.field("start_offset", pa.int64()),
        pa.field("end_offset", pa.int64()),
        pa.field("noticed_at", TIMESTAMP),
    ]
)

#: The distance of each day from the days before it; limits are learned from earlier scores. One row for each
#: day, feature and segment. A day whose events changed is measured again, with other `contents`.
DRIFT_SCHEMA: Final = pa.schema(
    [
        pa.field("day", pa.date32()),
        pa.field("window_start", TIMESTAMP),
        pa.field("window_end", TIMESTAMP),
        pa.field("feature", pa.string()),
        pa.field("segment", pa.string()),
        pa.field("measure", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("divergence", pa.float64()),
        pa.field("limit", pa.float64()),
        pa.field("alarmed", pa.bool_()),
        pa.field("change", pa.string()),
        pa.field("visits", pa.int64()),
        pa.field("reference_visits", pa.int64()),
        pa.field("retrain", pa.bool_()),
        pa.field("reason", pa.string()),
        pa.field("model_version", pa.string()),
        pa.field("hits", pa.list_(pa.float32())),
        pa.field("contents", pa.string()),
        pa.field("measured_at", TIMESTAMP),
    ]
)

#: Checkouts without an order, one row a session; rows that were noticed together share their `burst`.
ABANDONMENTS_SCHEMA: Final = pa.schema(
    [
        pa.field("session_id", pa.string()),
        pa.field("abandoned_at", TIMESTAMP),
        pa.field("reason", pa.string()),
        pa.field("burst", pa.string()),
        pa.field("noticed_at", TIMESTAMP),
    ]
)

#: The history of the catalogue: one row each change of an item; `item_id` and `valid_from` name the row. The
#: contract of items lists the fields before `batch_id`.
ITEMS_SCHEMA: Final = pa.schema(
    [
        pa.field("item_id", pa.string()),
        pa.field("valid_from", TIMESTAMP),
        pa.field("title", pa.string()),
        pa.field("category", pa.string()),
        pa.field("brand", pa.string()),
        pa.field("price", pa.float64()),
        pa.field("currency", pa.string()),
        pa.field("available", pa.bool_()),
        pa.field("image", pa.string()),
        pa.field("url", pa.string()),
        pa.field("removed", pa.bool_()),
        pa.field("batch_id", pa.string()),
    ]
)

#: The batches of the catalogue: files and ranges of a topic. `listed_at` is the moment whose catalogue a full
#: file lists; NULL for changes.
CATALOGUE_BATCHES_SCHEMA: Final = pa.schema(
    [
        pa.field("batch_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("source_file", pa.string()),
        pa.field("format", pa.string()),
        pa.field("content", pa.string()),
        pa.field("digest", pa.string()),
        pa.field("listed_at", TIMESTAMP),
        pa.field("rows_in", pa.int64()),
        pa.field("rows_clean", pa.int64()),
        pa.field("rows_quarantined", pa.int64()),
        pa.field("rows_duplicate", pa.int64()),
        pa.field("rows_ignored", pa.int64()),
        pa.field("items_removed", pa.int64()),
        pa.field("items_doubtful", pa.int64()),
        pa.field("quarantined_by_rule", pa.string()),
        pa.field("ignored_by_reason", pa.string()),
        pa.field("fields", pa.string()),
        pa.field("personal_data", pa.string()),
        pa.field("change_accepted", pa.bool_()),
        pa.field("gx_success", pa.bool_()),
        pa.field("gx_problem", pa.string()),
        pa.field("contract_version", pa.string()),
        pa.field("started_at", TIMESTAMP),
        pa.field("finished_at", TIMESTAMP),
    ]
)

#: The batches of exposures: files and ranges of a topic. `shown` counts the clean rows of that kind.
EXPOSURE_BATCHES_SCHEMA: Final = pa.schema(
    [
        pa.field("batch_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("source_file", pa.string()),
        pa.field("part", pa.int32()),
        pa.field("format", pa.string()),
        pa.field("rows_in", pa.int64()),
        pa.field("rows_clean", pa.int64()),
        pa.field("rows_quarantined", pa.int64()),
        pa.field("rows_duplicate", pa.int64()),
        pa.field("rows_ignored", pa.int64()),
        pa.field("rows_late", pa.int64()),
        pa.field("rows_shown", pa.int64()),
        pa.field("quarantined_by_rule", pa.string()),
        pa.field("ignored_by_reason", pa.string()),
        pa.field("fields", pa.string()),
        pa.field("personal_data", pa.string()),
        pa.field("change_accepted", pa.bool_()),
        pa.field("hours", pa.list_(pa.string())),
        pa.field("newest", TIMESTAMP),
        pa.field("gx_success", pa.bool_()),
        pa.field("gx_problem", pa.string()),
        pa.field("contract_version", pa.string()),
        pa.field("started_at", TIMESTAMP),
        pa.field("finished_at", TIMESTAMP),
    ]
)

#: What followed each exposure, one row a row of kind shown in exposures; `event_date` is the UTC day on which
#: the item was shown. Later events change the row in place.
OUTCOMES_SCHEMA: Final = pa.schema(
    [
        pa.field("exposure_id", pa.string()),
        pa.field("recommendation_id", pa.string()),
        pa.field("shown_at", TIMESTAMP),
        pa.field("session_id", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("item_id", pa.string()),
        pa.field("position", pa.int32()),
        pa.field("placement", pa.string()),
        pa.field("model_version", pa.string()),
        pa.field("policy", pa.string()),
        pa.field("experiment", pa.string()),
        pa.field("arm", pa.string()),
        pa.field("propensity", pa.float64()),
        pa.field("segment", pa.string()),
        pa.field("clicks", pa.int32()),
        pa.field("views", pa.int32()),
        pa.field("adds", pa.int32()),
        pa.field("orders", pa.int32()),
        pa.field("clicked_at", TIMESTAMP),
        pa.field("viewed_at", TIMESTAMP),
        pa.field("added_at", TIMESTAMP),
        pa.field("ordered_at", TIMESTAMP),
        pa.field("dwell_ms", pa.int64()),
        pa.field("quantity", pa.int64()),
        pa.field("revenue", pa.float64()),
        pa.field("currency", pa.string()),
        pa.field("touch", pa.string()),
        pa.field("session_ordered_at", TIMESTAMP),
        pa.field("session_abandoned_at", TIMESTAMP),
        pa.field("event_date", pa.date32()),
    ]
)

#: What shoppers did with a list, and no exposure explains; one row a row of exposures that is not of kind
#: shown. `event_date` is the UTC day on which it happened.
UNATTRIBUTED_SCHEMA: Final = pa.schema(
    [
        pa.field("exposure_id", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("recommendation_id", pa.string()),
        pa.field("occurred_at", TIMESTAMP),
        pa.field("session_id", pa.string()),
        pa.field("user_id", pa.string()),
        pa.field("item_id", pa.string()),
        pa.field("placement", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("event_date", pa.date32()),
    ]
)

#: Counts from which rates follow. Rows of a position count items; rows without a position count sessions, and
#: with a currency the revenue of these sessions. All counts add up; `event_date` is the day of `hour`.
SHOP_METRICS_SCHEMA: Final = pa.schema(
    [
        pa.field("hour", TIMESTAMP),
        pa.field("placement", pa.string()),
        pa.field("model_version", pa.string()),
        pa.field("policy", pa.string()),
        pa.field("experiment", pa.string()),
        pa.field("arm", pa.string()),
        pa.field("segment", pa.string()),
        pa.field("position", pa.int32()),
        pa.field("currency", pa.string()),
        pa.field("exposures", pa.int64()),
        pa.field("clicks", pa.int64()),
        pa.field("clicked", pa.int64()),
        pa.field("viewed", pa.int64()),
        pa.field("added", pa.int64()),
        pa.field("ordered", pa.int64()),
        pa.field("dwell_ms", pa.int64()),
        pa.field("lists", pa.int64()),
        pa.field("sessions", pa.int64()),
        pa.field("sessions_clicked", pa.int64()),
        pa.field("sessions_added", pa.int64()),
        pa.field("sessions_checkout", pa.int64()),
        pa.field("sessions_ordered", pa.int64()),
        pa.field("sessions_abandoned", pa.int64()),
        pa.field("items_viewed", pa.int64()),
        pa.field("items_viewed_squares", pa.float64()),
        pa.field("session_seconds", pa.float64()),
        pa.field("session_seconds_squares", pa.float64()),
        pa.field("revenue", pa.float64()),
        pa.field("revenue_squares", pa.float64()),
        pa.field("attributed_revenue", pa.float64()),
        pa.field("event_date", pa.date32()),
    ]
)

#: Every move of an experiment, a bandit, a canary or a shadow, oldest first by `entry`. The newest row of a
#: subject says what services do now; `trial` is that as JSON (lastaisle.experiments.traffic.Trial).
TRAFFIC_SCHEMA: Final = pa.schema(
    [
        pa.field("entry", pa.int64()),
        pa.field("move_id", pa.string()),
        pa.field("moved_at", TIMESTAMP),
        pa.field("subject", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("state", pa.string()),
        pa.field("trial", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("actor", pa.string()),
    ]
)

#: What became of the messages to people and services, one row a try; a message without a row waits.
#: `receiver` names an address without its path. Moves up to the two entries of a row `started` are not sent.
#: Until `not_before`, which older rows lack, the receiver asked to be left alone.
ANNOUNCEMENTS_SCHEMA: Final = pa.schema(
    [
        pa.field("announcement", pa.string()),
        pa.field("event", pa.string()),
        pa.field("receiver", pa.string()),
        pa.field("state", pa.string()),
        pa.field("attempt", pa.int32()),
        pa.field("problem", pa.string()),
        pa.field("at", TIMESTAMP),
        pa.field("release_entry", pa.int64()),
        pa.field("traffic_entry", pa.int64()),
        pa.field("not_before", TIMESTAMP),
    ]
)

#: Every change of an alert, oldest first by `entry`; see lastaisle.monitor.alerts.log. `scope` and `evidence`
#: are JSON. A silence without a scope covers its whole rule.
ALERTS_SCHEMA: Final = pa.schema(
    [
        pa.field("entry", pa.int64()),
        pa.field("at", TIMESTAMP),
        pa.field("change", pa.string()),
        pa.field("alert_id", pa.string()),
        pa.field("rule", pa.string()),
        pa.field("scope", pa.string()),
        pa.field("severity", pa.string()),
        pa.field("summary", pa.string()),
        pa.field("since", TIMESTAMP),
        pa.field("evidence", pa.string()),
        pa.field("until", TIMESTAMP),
        pa.field("actor", pa.string()),
        pa.field("reason", pa.string()),
    ]
)

#: How each experiment stood at the end of each hour: one row for each metric and arm beside the control.
#: Counts are of all shoppers until `hour`. A row never changes.
EXPERIMENT_RESULTS_SCHEMA: Final = pa.schema(
    [
        pa.field("experiment", pa.string()),
        pa.field("started_at", TIMESTAMP),
        pa.field("hour", TIMESTAMP),
        pa.field("metric", pa.string()),
        pa.field("role", pa.string()),
        pa.field("arm", pa.string()),
        pa.field("control", pa.string()),
        pa.field("units", pa.int64()),
        pa.field("arm_units", pa.int64()),
        pa.field("control_units", pa.int64()),
        pa.field("arm_seen", pa.int64()),
        pa.field("control_seen", pa.int64()),
        pa.field("arm_expected", pa.float64()),
        pa.field("control_expected", pa.float64()),
        pa.field("value", pa.float64()),
        pa.field("control_value", pa.float64()),
        pa.field("difference", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("fixed_low", pa.float64()),
        pa.field("fixed_high", pa.float64()),
        pa.field("p_value", pa.float64()),
        pa.field("variance_reduction", pa.float64()),
        pa.field("alpha", pa.float64()),
        pa.field("rho", pa.float64()),
        pa.field("ratio_p", pa.float64()),
        pa.field("switched", pa.int64()),
        pa.field("differs", pa.int64()),
        pa.field("left_out", pa.string()),
        pa.field("currency", pa.string()),
        pa.field("state", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("outcomes_version", pa.int64()),
        pa.field("events_version", pa.int64()),
    ]
)

#: What a bandit had learned of an arm after an update, one row an arm; `move_id` is the move in `traffic`.
#: `lists`, `rewards`, `mean` and its 95 % interval are those of the window. `probability` is that of the arm
#: from now on, and `policy_probability` without base and share, both over the contexts of the lists.
BANDIT_ARMS_SCHEMA: Final = pa.schema(
    [
        pa.field("move_id", pa.string()),
        pa.field("bandit", pa.string()),
        pa.field("learned_until", TIMESTAMP),
        pa.field("arm", pa.string()),
        pa.field("lists", pa.int64()),
        pa.field("rewards", pa.int64()),
        pa.field("mean", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("share", pa.float64()),
        pa.field("policy_probability", pa.float64()),
        pa.field("probability", pa.float64()),
        pa.field("mean_propensity", pa.float64()),
        pa.field("estimated_regret", pa.float64()),
    ]
)

#: What shoppers decided about a purpose, beside the flags of their events: one row a decision. The newest row
#: of a shopper (or of a visit without a shopper) and a purpose counts; among equal times a refusal counts.
CONSENTS_SCHEMA: Final = pa.schema(
    [
        pa.field("user_id", pa.string()),
        pa.field("session_id", pa.string()),
        pa.field("purpose", pa.string()),
        pa.field("granted", pa.bool_()),
        pa.field("at", TIMESTAMP),
        pa.field("source", pa.string()),
        pa.field("key_version", pa.int32()),
        pa.field("recorded_at", TIMESTAMP),
    ]
)

#: Every step of a request of shoppers about their data, oldest first by `entry`. No row names a shopper:
#: the ids lie in the inbox of requests until the request ends. `counts` and `receipt` are JSON.
SUBJECT_REQUESTS_SCHEMA: Final = pa.schema(
    [
        pa.field("entry", pa.int64()),
        pa.field("request_id", pa.string()),
        pa.field("kind", pa.string()),
        pa.field("state", pa.string()),
        pa.field("at", TIMESTAMP),
        pa.field("actor", pa.string()),
        pa.field("subjects", pa.int64()),
        pa.field("due_at", TIMESTAMP),
        pa.field("counts", pa.string()),
        pa.field("problem", pa.string()),
        pa.field("receipt", pa.string()),
    ]
)

#: Shoppers whose rows were erased, so that ingestion refuses rows of them that occurred before `before`.
#: `digest` is a pseudonym in a domain of its own, and joins no other table.
ERASED_SCHEMA: Final = pa.schema(
    [
        pa.field("digest", pa.string()),
        pa.field("key_version", pa.int32()),
        pa.field("before", TIMESTAMP),
        pa.field("request_id", pa.string()),
    ]
)

#: What each private training spent of the privacy budget of the shoppers of its window, one row a training.
#: `mechanism` is JSON, from which trainings are composed.
PRIVACY_SPENT_SCHEMA: Final = pa.schema(
    [
        pa.field("run_key", pa.string()),
        pa.field("run_id", pa.string()),
        pa.field("model_name", pa.string()),
        pa.field("architecture", pa.string()),
        pa.field("unit", pa.string()),
        pa.field("window_start", TIMESTAMP),
        pa.field("window_end", TIMESTAMP),
        pa.field("shoppers", pa.int64()),
        pa.field("mechanism", pa.string()),
        pa.field("epsilon", pa.float64()),
        pa.field("delta", pa.float64()),
        pa.field("finished_at", TIMESTAMP),
    ]
)

#: Who asked to see data of shoppers, one row a request, written before the answer.
ACCESSES_SCHEMA: Final = pa.schema(
    [
        pa.field("at", TIMESTAMP),
        pa.field("actor", pa.string()),
        pa.field("what", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("outcome", pa.string()),
    ]
)

#: The audits of privacy, one row an audit. `findings` is JSON, failed findings first.
AUDITS_SCHEMA: Final = pa.schema(
    [
        pa.field("audit_id", pa.string()),
        pa.field("at", TIMESTAMP),
        pa.field("first_day", pa.date32()),
        pa.field("last_day", pa.date32()),
        pa.field("failed", pa.int64()),
        pa.field("findings", pa.string()),
    ]
)

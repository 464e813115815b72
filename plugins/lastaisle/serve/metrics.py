"""The service's counters, in the text format that Prometheus reads; those of all workers add up."""

from __future__ import annotations

import os
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

SHARED_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable of the folder in which the workers of one service share their counters."""
SECONDS: Final = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SIZES: Final = (1, 2, 4, 8, 16, 32)
MEDIA_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


class Metrics:
    """The counters of one worker, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "lastaisle_serve_requests_total",
            "Requests, by path, HTTP status and policy of the list.",
            ["path", "status", "policy"],
            registry=registry,
        )
        self._seconds = Histogram(
            "lastaisle_serve_seconds",
            "Time from the head of a request to its answer.",
            ["path"],
            buckets=SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            "lastaisle_serve_refused_total",
            "Refused requests and connections, by reason.",
            ["reason"],
            registry=registry,
        )
        self._batches = Histogram(
            "lastaisle_serve_batch_size",
            "Requests that the model answered at once.",
            buckets=SIZES,
            registry=registry,
        )
        self._slots = Counter(
            "lastaisle_serve_slots_total",
            "Recommended items, by reason: model, popular, or a rule.",
            ["reason"],
            registry=registry,
        )
        self._feedback = Counter(
            "lastaisle_serve_feedback_total",
            "Items of feedback, by kind, and whether they were stored.",
            ["kind", "stored"],
            registry=registry,
        )
        self._not_personalized = Counter(
            "lastaisle_serve_not_personalized_total",
            "Lists of popular items for shoppers who refuse personal lists, by reason.",
            ["reason"],
            registry=registry,
        )
        self._decisions = Counter(
            "lastaisle_serve_decisions_total",
            "Recorded decisions of shoppers, by purpose, and whether they grant it.",
            ["purpose", "granted"],
            registry=registry,
        )
        self._trial_lists = Counter(
            "lastaisle_serve_trial_lists_total",
            "Lists of experiments, bandits and canaries, by experiment and arm.",
            ["experiment", "arm"],
            registry=registry,
        )
        self._trial_failures = Counter(
            "lastaisle_serve_trial_failures_total",
            "Requests that an arm could not answer, by experiment and arm.",
            ["experiment", "arm"],
            registry=registry,
        )
        self._trial_unready = Counter(
            "lastaisle_serve_trial_unready_total",
            "Requests of a trial whose versions are not loaded: they get the champion. By experiment.",
            ["experiment"],
            registry=registry,
        )
        self._queue = _gauge("queue", "Requests that wait for the model.", registry, "livesum")
        self._version = Gauge(
            "lastaisle_serve_version",
            "How many workers answer with this version.",
            ["model", "version"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._poll_age = _gauge(
            "poll_age_seconds", "Time since MLflow last said which version to serve.", registry, "livemax"
        )
        self._catalogue_age = _gauge(
            "catalogue_age_seconds", "Time since the lake last said what is for sale.", registry, "livemax"
        )
        self._traffic_age = _gauge(
            "traffic_age_seconds", "Time since the lake last said which trials run.", registry, "livemax"
        )
        self._consents_age = _gauge(
            "consents_age_seconds", "Time since the lake last said who refuses.", registry, "livemax"
        )
        self._problems = _gauge("problems", "Things that do not work now.", registry, "livemax")
        self._served: tuple[str, str] | None = None
        self._by_answer: dict[tuple[str, int, str], Counter] = {}
        self._by_path: dict[str, Histogram] = {}

    def answered(self, path: str, status: int, policy: str, seconds: float) -> None:
        """Count an answer, and record the seconds that it took."""
        key = (path, status, policy)
        if (counter := self._by_answer.get(key)) is None:
            counter = self._by_answer[key] = self._requests.labels(path, str(status), policy)
        counter.inc()
        if (histogram := self._by_path.get(path)) is None:
            histogram = self._by_path[path] = self._seconds.labels(path)
        histogram.observe(seconds)

    def refused(self, reason: str) -> None:
        """Count a request or a connection that was refused."""
        self._refused.labels(reason).inc()

    def batch(self, size: int) -> None:
        """Record the size of a batch."""
        self._batches.observe(size)

    def slots(self, reason: str, number: int) -> None:
        """Count recommended items."""
        self._slots.labels(reason).inc(number)

    def feedback(self, kind: str, items: int, *, stored: bool) -> None:
        """Count items of feedback."""
        self._feedback.labels(kind, "yes" if stored else "no").inc(items)

    def not_personalized(self, reason: str) -> None:
        """Count a list that is not personal."""
        self._not_personalized.labels(reason).inc()

    def decision(self, purpose: str, *, granted: bool) -> None:
        """Count a recorded decision."""
        self._decisions.labels(purpose, "yes" if granted else "no").inc()

    def trial_list(self, experiment: str, arm: str) -> None:
        """Count a list of a trial."""
        self._trial_lists.labels(experiment, arm).inc()

    def trial_failure(self, experiment: str, arm: str) -> None:
        """Count a request that an arm could not answer."""
        self._trial_failures.labels(experiment, arm).inc()

    def unready(self, experiment: str) -> None:
        """Count a request of a trial that is not ready."""
        self._trial_unready.labels(experiment).inc()

    def state(
        self,
        *,
        queue: int,
        problems: int,
        served: tuple[str, str] | None,
        poll_age: float | None,
        catalogue_age: float | None,
        traffic_age: float | None,
        consents_age: float | None,
    ) -> None:
        """Note the present state of this worker.

        Args:
            queue: how many requests wait.
            problems: how many things do not work.
            served: the model and the version that answers.
            poll_age: seconds since MLflow last answered; None if nothing asks it, or if it never answered.
            catalogue_age: seconds since the lake last said what is for sale; None as for `poll_age`.
            traffic_age: seconds since the lake last said which trials run; None as for `poll_age`.
            consents_age: seconds since the lake last said who refuses; None as for `poll_age`.
        """
        self._queue.set(queue)
        self._problems.set(problems)
        ages = (
            (self._poll_age, poll_age),
            (self._catalogue_age, catalogue_age),
            (self._traffic_age, traffic_age),
            (self._consents_age, consents_age),
        )
        for gauge, age in ages:
            if age is not None:
                gauge.set(age)
        if served != self._served:
            if self._served:
                self._version.labels(*self._served).set(0)
            self._served = served
        if served:
            self._version.labels(*served).set(1)

    def render(self) -> bytes:
        """Return the series of all workers."""
        if SHARED_FOLDER not in os.environ:
            return generate_latest(self._registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)


def forget_worker(pid: int, folder: str) -> None:
    """Drop the gauges of a worker that has ended; its counters stay.

    Args:
        pid: the process id.
        folder: where the workers share their counters.
    """
    mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]


def _gauge(name: str, description: str, registry: CollectorRegistry, mode: str) -> Gauge:
    return Gauge(f"lastaisle_serve_{name}", description, registry=registry, multiprocess_mode=mode)  # type: ignore[arg-type]

"""Ingest one batch of exposures: stage its rows, judge them, find duplicates, and commit exactly once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from lastaisle.feedback.exposures.formats import FEEDBACK, guess_exposure_format, makes_pseudonyms
from lastaisle.feedback.exposures.job import ExposureJob
from lastaisle.feedback.exposures.report import ExposureBatchReport
from lastaisle.feedback.exposures.shoppers import SESSION, USER, domain_of
from lastaisle.ingest.job import Batch
from lastaisle.ingest.row_steps import RowSteps
from lastaisle.ingest.staging.duplicates import Contents
from lastaisle.ingest.staging.staging import CLEAN, Staging
from lastaisle.lake import Query
from lastaisle.lake.tables import EXPOSURE_BATCHES, EXPOSURE_BATCHES_SCHEMA, EXPOSURES
from lastaisle.privacy.erased import PSEUDONYM

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

#: The service makes the id of a row from these fields. The same feedback that is sent again without a time
#: gets another time of its own.
_OF_FEEDBACK: Final = ("kind", "recommendation_id", "item_id", "position")
_PSEUDONYMS: Final = (USER, SESSION)
OTHER_KEY: Final = "pseudonyms_of_another_key"
"""The name of the warning about rows whose pseudonyms another key made than the current one."""

log = logging.getLogger(__name__)


class ExposureSteps(RowSteps[ExposureJob, ExposureBatchReport]):
    """Brings batches into quarantine, exposures and exposure_batches, in this order."""

    table = EXPOSURES
    batches = EXPOSURE_BATCHES
    batches_schema = EXPOSURE_BATCHES_SCHEMA
    id_form = PSEUDONYM
    #: An experiment ends; lists of others come without propensities, clicks without positions, and rows
    #: whose sender made the pseudonyms without the version of a key.
    may_end = ("experiment", "arm", "propensity", "position", "key_version")

    @property
    def report_type(self) -> type[ExposureBatchReport]:
        """The class of the reports."""
        return ExposureBatchReport

    def guess(self, lines: Sequence[str], tried: str) -> tuple[str | None, str]:
        """Return another format of exposures that the lines look like, and a sentence about it."""
        return guess_exposure_format(lines, tried)

    def prepare(self, connection: DuckDBPyConnection) -> None:
        """Bind the key of the pseudonyms, if the format holds the shop's own ids."""
        key = self.job.require_key()
        if key is not None and makes_pseudonyms(self.job.form):
            key.bind(connection, {domain_of(name) for name in _PSEUDONYMS})

    def rows(self, staging: Staging, batch: Batch) -> Query:
        """Return the clean rows, with the treatments of the contract, such as times cut to the second."""
        policy = staging.contract.privacy_policy()
        values = {name: how.sql(name) for name, how in policy.items() if how.action == "coarsen"}
        values["key_version"] = f"coalesce(key_version, {self._key_version()}::INTEGER)"
        return staging.clean_rows(batch.batch_id, batch.source_file, values)

    def contents(self, known: ds.Dataset | None) -> Contents:
        """Compare feedback by what its id is made of; and no pseudonyms that another key made."""
        if self.job.form.name == FEEDBACK.name:
            return Contents(only=_OF_FEEDBACK)
        untold = dict.fromkeys((*_PSEUDONYMS, "key_version"), "true")
        if known is not None and "key_version" in known.schema.names:
            other = f"key_version IS DISTINCT FROM {self._key_version()}"
            # A rotation takes away the pseudonyms that no event knows. The first key follows no rotation.
            untold |= {name: f"{other} OR (key_version > 1 AND {name} IS NULL)" for name in _PSEUDONYMS}
        return Contents(untold=untold)

    def count_more(self, staging: Staging, report: ExposureBatchReport) -> ExposureBatchReport:
        """Count the clean rows of kind shown, and warn of rows whose pseudonyms another key made."""
        shown = staging.count(f"{CLEAN} AND kind = 'shown'")
        other = staging.count(f"{CLEAN} AND key_version <> {self._key_version()}")
        if other:
            log.warning(
                "%s: another key than the current one made the pseudonyms of %d rows, so they join no event: "
                "when all feedback of before the rotation is ingested, run `lastaisle keys rotate "
                "--no-dry-run`, which finishes the rotation",
                *(report.source_file, other),
            )
        warnings = report.warnings_by_rule | ({OTHER_KEY: other} if other else {})
        return replace(report, rows_shown=shown, warnings_by_rule=warnings)

    def recount(self, report: ExposureBatchReport) -> ExposureBatchReport:
        """Count the rows that a killed run wrote, those of kind shown, too."""
        shown = (pc.field("batch_id") == report.batch_id) & (pc.field("kind") == "shown")
        rows = self.job.lake.scan(EXPOSURES, columns=["batch_id"], where=shown).num_rows
        return replace(super().recount(report), rows_shown=rows)

    def _key_version(self) -> str:
        return "NULL" if self.job.keys is None else str(self.job.keys.current)


def take_in_exposures(
    lines: Iterable[pa.RecordBatch],
    batch: Batch | Callable[[], Batch],
    job: ExposureJob,
    before_commit: Callable[[], object] | None = None,
) -> ExposureBatchReport:
    """Bring one batch into quarantine, exposures and exposure_batches.

    Arguments, result and errors are those of `BatchSteps.take_in`; besides:

    Raises:
        KeyFileError: the format holds the shop's own ids, and there is no key, or another key made the
            events of the lake.
    """
    return ExposureSteps(job).take_in(lines, batch, before_commit)

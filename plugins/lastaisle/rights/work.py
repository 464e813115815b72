"""Do what a shopper asked: copy, erase, restrict, object. A request that was killed goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from data_contracts.contract import load_contract
from lastaisle.errors import LastaisleError
from lastaisle.lake.tables import CONSENTS, EVENTS, RAW_EVENTS
from lastaisle.privacy.accesses import require_reader
from lastaisle.privacy.consents import PURPOSES, Decision, Purpose, record
from lastaisle.privacy.domains import key_of_lake
from lastaisle.privacy.erased import USER, mark
from lastaisle.privacy.keys import KeyFileError, PseudonymKeys
from lastaisle.registry.revision import git_revision
from lastaisle.rights.erasure import Erased, Places, Subjects, erase
from lastaisle.rights.export import copy_of, counts_of, to_json, to_zip
from lastaisle.rights.inbox import Inbox, InboxError, Kind, Waiting, write_private
from lastaisle.rights.places import Connect, connect_by_environment, folders_of, topics_of
from lastaisle.rights.receipts import ReceiptKey, without_salt
from lastaisle.rights.requests import DONE, FAILED, WORKING, Request, advance, find_request, register, repair
from lastaisle.rights.restored import keep_tombstones
from lastaisle.settings.private import make_private, write_new
from lastaisle.telemetry.shown import one_line

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.registry.registry import Registry
    from lastaisle.settings import Settings

log = logging.getLogger(__name__)

Progress = Callable[[float, str], None]
#: The purposes that each kind of request refuses. An objection (article 21) is against profiling and against
#: marketing; a restriction (article 18) is against all uses.
REFUSES: Final[Mapping[str, tuple[Purpose, ...]]] = {
    "object": ("personalization", "sale"),
    "restrict": PURPOSES,
}
COPIES: Final = "copies"
RECEIPTS: Final = "receipts"


class ErasureUnprovenError(LastaisleError):
    """Rows were erased, but a search still finds the shopper, or a writer is about to add rows."""


@dataclass(frozen=True)
class Desk:
    """What the work on requests needs.

    Attributes:
        settings: the settings.
        lake: the tables.
        inbox: the user ids of requests.
        registry: opens MLflow, whose models an erasure searches; None: they are not searched.
        connect: returns the connection of a Kafka cluster by its name in addresses of topics.
    """

    settings: Settings
    lake: Lake
    inbox: Inbox
    registry: Callable[[], Registry] | None = None
    connect: Connect = connect_by_environment

    @classmethod
    def of(
        cls,
        settings: Settings,
        lake: Lake,
        registry: Callable[[], Registry] | None = None,
        connect: Connect = connect_by_environment,
    ) -> Self:
        """Return the desk of an installation.

        Raises:
            InboxError: the folder of requests lies inside the lake.
        """
        return cls(settings, lake, Inbox(settings.privacy.requests, lake_url=lake.url), registry, connect)

    def keys(self) -> PseudonymKeys:
        """Return the pseudonym keys, if they made the events of the lake.

        Raises:
            KeyFileError: there is no key, or another key made the events.
        """
        keys = PseudonymKeys.load(self.settings.privacy.key_file, lake_url=self.lake.url)
        if keys is None:
            raise KeyFileError(
                f"there is no pseudonym key in {self.settings.privacy.key_file}, and without it nobody can "
                "tell a shopper's events: name the file by LASTAISLE_KEY_FILE"
            )
        key_of_lake(self.lake, keys, self.lake.version(EVENTS))
        return keys

    def places(self) -> Places:
        """Return where data of shoppers lies.

        Raises:
            KafkaSourceError: the settings name topics, and there is no connection to them.
        """
        registry = None if self.registry is None else self.registry()
        skipped = (self.inbox.waiting_folder,)  # these ids are deleted last
        artifacts = self.settings.registry.mlflow_artifacts
        if ":" not in artifacts.partition("/")[0]:  # MLflow makes its folder with the first artifact
            make_private(Path(artifacts))
        topics = topics_of(self.settings, self.connect)
        return Places(
            *(self.lake, self.inbox.folder / "erasing", registry, self.settings),
            folders=folders_of(self.settings, self.inbox.folder),
            topics=topics,
            without_topics="" if topics else "no broker is configured",
            skipped=skipped,
        )

    def file_of(self, folder: str, request_id: str, suffix: str = ".json") -> Path:
        """Return the file of a receipt or of a copy in the folder of requests.

        Raises:
            InboxError: its folder cannot be made.
        """
        try:
            make_private(self.inbox.folder / folder)
        except OSError as error:
            raise InboxError(f"cannot make {self.inbox.folder / folder}: {error.strerror}") from error
        return self.inbox.folder / folder / f"{request_id}{suffix}"


@dataclass(frozen=True)
class _How:
    """The arguments of `work` that only some kinds of requests need."""

    reason: str
    out: Path | None
    progress: Progress


def ask(desk: Desk, kind: Kind, user_ids: Sequence[str], actor: str) -> Request:
    """Put a request into the inbox, and write its first step.

    Killed in between, the request lies in the inbox alone; `repair` writes its step.
    """
    request_id = desk.inbox.put(kind, user_ids, actor)
    return register(desk.lake, desk.inbox.waiting(request_id), desk.settings.privacy.request_days)


def work(
    desk: Desk,
    request_id: str,
    *,
    actor: str,
    reason: str = "",
    out: Path | None = None,
    progress: Progress = lambda share, step: None,
) -> Request:
    """Do a request, and write its steps and its receipt; return it.

    A request that has ended is returned as it is. A request that was killed is done again: each part of it
    changes nothing a second time.

    Args:
        desk: what the work needs.
        request_id: the request.
        actor: who does it.
        reason: why, for the table of accesses, where a copy is made.
        out: the file of a copy (.zip with CSV files, else JSON); by default in the folder of requests.
        progress: called with the share of the work that is done, and the next step.

    Raises:
        RequestError: there is no such request.
        RequestBusyError: another process works on it.
        ErasureUnprovenError: the search after the erasure still finds the shopper.
        LastaisleError: the work failed. The request is `failed`, and may be done again.
    """
    repair(desk.lake, desk.inbox, desk.settings.privacy.request_days)
    request = find_request(desk.lake, request_id)
    if not request.is_open:
        return request
    with desk.inbox.hold(request_id):
        waiting = desk.inbox.waiting(request_id)
        advance(desk.lake, request_id, WORKING, actor=actor)
        try:
            how = _How(reason, out, progress)
            counts = _do(desk, find_request(desk.lake, request_id), waiting, how)
            receipt = _receipt(desk, waiting, counts)
        except LastaisleError as error:
            problem = without_ids(f"{type(error).__name__}: {error}", waiting.user_ids)
            advance(desk.lake, request_id, FAILED, actor=actor, problem=problem)
            raise
        advance(desk.lake, request_id, DONE, actor=actor, counts=counts, receipt=receipt)
        desk.inbox.finish(request_id)
    return find_request(desk.lake, request_id)


def preview(desk: Desk, user_ids: Sequence[str], progress: Progress = lambda share, step: None) -> Erased:
    """Return what an erasure would erase; nothing is changed, and no request is written."""
    subjects = Subjects.of(user_ids, desk.keys())
    return erase(subjects, desk.places(), dry_run=True, progress=progress)


def without_ids(text: str, user_ids: Sequence[str]) -> str:
    """Return a text in one line; if it holds any of the ids, only its beginning up to the first colon."""
    line = one_line(text)
    return line.partition(":")[0] if any(user_id in line for user_id in user_ids) else line


def _do(desk: Desk, request: Request, waiting: Waiting, how: _How) -> dict[str, Any]:
    """Do the request; return its counts."""
    if waiting.kind == "erase":
        return _erase(desk, request, waiting, how.progress)
    if waiting.kind == "export":
        return _export(desk, waiting, how)
    return _refuse(desk, waiting)


def _erase(desk: Desk, request: Request, waiting: Waiting, progress: Progress) -> dict[str, Any]:
    """Write tombstones, then erase and search; return the counts of the engine."""
    keys = desk.keys()
    before = next(step.at for step in request.steps if step.state == WORKING)
    mark(desk.lake, keys, waiting.user_ids, before, waiting.request_id)
    keep_tombstones(desk.inbox, desk.lake)
    _delete_copies(desk, waiting)
    subjects = Subjects.of(waiting.user_ids, keys)
    erased = erase(subjects, desk.places(), dry_run=False, progress=progress)
    if any(place.found or place.waiting for place in erased.places):
        found = {place.place: place.found + place.waiting for place in erased.places}
        named = ", ".join(f"{name} ({count})" for name, count in found.items() if count)
        told = f"a search after the erasure still finds an id or a pseudonym in {named}"
        notes = " ".join(
            f"{place.place}: {place.note}." for place in erased.places if place.found and place.note
        )
        raise ErasureUnprovenError(
            f"{without_ids(told, waiting.user_ids)}. {without_ids(notes, waiting.user_ids)}".rstrip()
            + " Look at these places, and do the request again when no ingestion runs"
        )
    for place in erased.places:  # the receipt names it, too: it says that the erasure is not proven there
        if place.unsearched:
            log.warning("%s was not searched: %s", place.place, place.unsearched)
    return erased.to_dict()


def _delete_copies(desk: Desk, waiting: Waiting) -> None:
    """Delete the copies that earlier requests of the shoppers left in the folder of requests."""
    for file in (desk.inbox.folder / COPIES).glob("*.json"):
        try:
            named = json.loads(file.read_text(encoding="utf-8"))["user_ids"]
        except (OSError, ValueError, KeyError, TypeError):  # the search after the erasure finds what it holds
            continue
        if set(named) & set(waiting.user_ids):
            file.unlink(missing_ok=True)


def _export(desk: Desk, waiting: Waiting, how: _How) -> dict[str, Any]:
    """Write the copy into a file; return the rows of each table."""
    require_reader(
        desk.lake,
        desk.settings,
        data="the data of a shopper",
        what=f"the copy of request {waiting.request_id}",
        reason=how.reason,
        hint="The request waits for an account that may",
    )
    copy = copy_of(desk.lake, desk.keys(), waiting.user_ids, waiting.request_id)
    file = how.out or desk.file_of(COPIES, waiting.request_id)
    content = to_zip(copy) if file.suffix == ".zip" else to_json(copy)
    if how.out is None:
        file.unlink(missing_ok=True)  # of a run that was killed
    try:
        write_new(file, content)
    except OSError as error:
        raise InboxError(f"cannot write the copy {file}: {error.strerror}") from error
    return {"rows": counts_of(copy), "bytes": len(content)}  # the file's name may be the shopper's


def _refuse(desk: Desk, waiting: Waiting) -> dict[str, Any]:
    """Record that the shoppers refuse purposes; return them."""
    keys = desk.keys()
    key = key_of_lake(desk.lake, keys, desk.lake.version(EVENTS))
    domain = load_contract(RAW_EVENTS).field(USER).treatment.domain(USER)
    purposes = REFUSES[waiting.kind]
    decisions = [
        Decision(key.pseudonym(domain, user_id), None, purpose, False, waiting.at, "request")
        for user_id in waiting.user_ids
        for purpose in purposes
    ]
    record(desk.lake, decisions, key.version)
    return {"refused": list(purposes), "table": CONSENTS, "rows": len(decisions)}


def _receipt(desk: Desk, waiting: Waiting, counts: Mapping[str, Any]) -> dict[str, Any]:
    """Sign what was done, and write the receipt's file; return the receipt without its salt."""
    keys = desk.keys()
    facts = {
        "request_id": waiting.request_id,
        "kind": waiting.kind,
        "asked_at": waiting.at.astimezone(UTC).isoformat(),
        "finished_at": datetime.now(UTC).isoformat(),
        "done": dict(counts),
        "revision": git_revision(),
        "keys": {str(version): keys.fingerprint(version) for version in sorted(keys.versions)},
    }
    signer = ReceiptKey.load_or_create(desk.settings.privacy.receipt_key, lake_url=desk.lake.url)
    signed = signer.sign(facts, waiting.user_ids)
    write_private(
        desk.file_of(RECEIPTS, waiting.request_id), json.dumps(signed, indent=1, ensure_ascii=False)
    )
    return without_salt(signed)

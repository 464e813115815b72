"""Commands for requests of shoppers about their data: `lastaisle subjects`.

No command takes a user id as an argument: every account of the machine can list the arguments of processes,
and a shell keeps them in its history. Imports stand inside the commands, so that `--help` and other commands
load nothing heavy.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.table import Table

from lastaisle.cli.options import LakeUrl, Report, writable
from lastaisle.cli.terminal import announce, bar, console, read_settings, write
from lastaisle.telemetry.shown import one_line

if TYPE_CHECKING:
    from lastaisle.rights.erasure import Erased
    from lastaisle.rights.inbox import Kind
    from lastaisle.rights.requests import Request
    from lastaisle.rights.work import Desk

MOST_BYTES: Final = 16 << 20
"""A file of user ids is refused above this size; /dev/zero never ends."""

UserIdFile = Annotated[
    str,
    typer.Option(
        "--user-id-file",
        help="A file with the shop's ids of the shoppers, one a line; - reads standard input. An id is never "
        "an argument, because all accounts of a machine can list arguments, and shells keep them.",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="The file is a JSON list, for ids that hold line breaks.")
]
Reason = Annotated[str, typer.Option(help="Why a copy is made, for the table of accesses.")]
Out = Annotated[
    Path | None,
    typer.Option(
        help="The file of the copy: .zip with a CSV file for each table, else JSON. Default: the folder "
        "copies in LASTAISLE_REQUESTS.",
        callback=writable,
    ),
]
RequestId = Annotated[str, typer.Argument(help="The request, as `lastaisle subjects list` names it.")]


def export(
    user_id_file: UserIdFile,
    as_json: AsJson = False,
    out: Out = None,
    reason: Reason = "",
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Copy all that the lake holds of one shopper into a file (GDPR articles 15 and 20).

    Several ids are several ids of one person. Only the accounts of LASTAISLE_RAW_READERS that can read the
    pseudonym key make copies, and each request is a row of the table accesses before the copy.
    """
    desk = _desk(lake)
    _work(desk, _ask(desk, "export", user_id_file, as_json), report, reason=reason, out=out)


def erase(
    user_id_file: UserIdFile,
    as_json: AsJson = False,
    dry_run: Annotated[bool, typer.Option(help="Only count what would be erased; change nothing.")] = True,
    later: Annotated[
        bool, typer.Option("--later", help="Only write the request; the DAG erase_subjects does it.")
    ] = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Erase shoppers everywhere, and prove it by a search of every byte (GDPR article 17, with --no-dry-run).

    The request leaves a signed receipt. Nobody can undo an erasure. Logs that are read again bring the
    shoppers' rows of before the erasure not back.
    """
    from lastaisle.rights.work import preview

    desk = _desk(lake)
    if later:
        request = _ask(desk, "erase", user_id_file, as_json)
        write(request.to_dict(datetime.now(UTC)), report)
        announce(f"request {request.request_id} is asked, and due by {request.first.due_at:%Y-%m-%d}")
        return
    if dry_run:
        with bar("Counting") as progress:
            told = preview(desk, _read(user_id_file, as_json), progress)
        write(told.to_dict(), report)
        announce(f"dry run: nothing was changed. After --no-dry-run: {_of_places(told)}")
        return
    _work(desk, _ask(desk, "erase", user_id_file, as_json), report)


def restrict(
    user_id_file: UserIdFile, as_json: AsJson = False, lake: LakeUrl = "", report: Report = None
) -> None:
    """Use the data of shoppers for no purpose any more, and keep it (GDPR article 18)."""
    desk = _desk(lake)
    _work(desk, _ask(desk, "restrict", user_id_file, as_json), report)


def object_(
    user_id_file: UserIdFile, as_json: AsJson = False, lake: LakeUrl = "", report: Report = None
) -> None:
    """Use the data of shoppers neither for personal recommendations nor for sale (GDPR article 21, CCPA)."""
    desk = _desk(lake)
    _work(desk, _ask(desk, "object", user_id_file, as_json), report)


def resume(
    request_id: RequestId,
    out: Out = None,
    reason: Reason = "",
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Do a request that waits, failed, or was killed."""
    from lastaisle.rights.requests import find_request, repair

    desk = _desk(lake)
    repair(desk.lake, desk.inbox, desk.settings.privacy.request_days)
    _work(desk, find_request(desk.lake, request_id), report, reason=reason, out=out)


def reapply(
    of_lake: Annotated[
        str,
        typer.Option(
            help="The address that the lake had when the shoppers were erased. Default: its present address."
        ),
    ] = "",
    dry_run: Annotated[bool, typer.Option(help="Only count who came back; change nothing.")] = True,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Erase again, after the restore of an older lake, the shoppers whom it brought back (with --no-dry-run).

    Run it after each restore and before any ingestion. The folder of requests has the tombstones of all
    erasures; they are put back, too.
    """
    from lastaisle.privacy.accesses import account
    from lastaisle.rights.reapply import reapply as reapply_erasures
    from lastaisle.rights.requests import find_request

    desk = _desk(lake)
    told = reapply_erasures(desk, account(), of_lake=of_lake, dry_run=dry_run)
    left_out = f"; {told.elsewhere:,} of other lakes are left out (--of-lake)" if told.elsewhere else ""
    verb = "would be put back" if dry_run else "were put back"
    announce(f"{told.erasures:,} erasures are known{left_out}; tombstones of {told.put_back:,} {verb}")
    announce(f"{told.shoppers:,} erased shoppers have rows from before their erasure")
    if not told.request_id:
        write(told.to_dict(), report)
        return
    _work(desk, find_request(desk.lake, told.request_id), report)


def refuse(
    request_id: RequestId,
    reason: Annotated[str, typer.Option(help="Why the request is refused. Name no shopper.")],
    lake: LakeUrl = "",
) -> None:
    """End a request without doing it, for example because nobody proved the identity, and delete its ids."""
    from lastaisle.privacy.accesses import account
    from lastaisle.rights.requests import REFUSED, advance

    if not reason.strip():
        raise typer.BadParameter("a refusal needs a reason, received an empty text", param_hint="--reason")
    desk = _desk(lake)
    advance(desk.lake, request_id, REFUSED, actor=account(), problem=one_line(reason.strip())[:500])
    desk.inbox.finish(request_id)
    announce(f"request {request_id} is refused, and its ids are deleted")


def list_requests(
    every: Annotated[bool, typer.Option("--all", help="Also requests that have ended.")] = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """List the requests that wait, with their age and the day on which they are due; mend killed ones."""
    from lastaisle.rights.requests import read_requests, repair

    desk, now = _desk(lake), datetime.now(UTC)
    for sentence in repair(desk.lake, desk.inbox, desk.settings.privacy.request_days):
        announce(sentence)
    requests = [one for one in read_requests(desk.lake) if every or one.is_open]
    write({"requests": [one.to_dict(now) for one in requests]}, report)
    table = Table("request", "kind", "state", "shoppers", "asked", "hours", "due")
    for one in requests:
        moments = (f"{one.first.at:%Y-%m-%d %H:%M}", f"{one.first.due_at:%Y-%m-%d}")
        hours = f"{one.to_dict(now)['hours']:,}"
        row = (one.request_id, one.first.kind, one.last.state, f"{one.first.subjects:,}")
        table.add_row(*row, moments[0], hours, moments[1])
    if requests:
        console.print(table)
    else:
        announce("no request of a shopper waits" if not every else "there is no request of a shopper")


def show(request_id: RequestId, lake: LakeUrl = "", report: Report = None) -> None:
    """Show the steps of a request, and what was done; it names no shopper."""
    from lastaisle.rights.requests import find_request

    desk = _desk(lake)
    request = find_request(desk.lake, request_id)
    write(request.to_dict(datetime.now(UTC)), report)
    first = request.first
    announce(f"{first.kind} of {first.subjects:,} shoppers, due by {first.due_at:%Y-%m-%d}")
    for step in request.steps:
        why = f": {one_line(step.problem)}" if step.problem else ""
        announce(f"{step.at:%Y-%m-%d %H:%M:%S} {step.state} by {one_line(step.actor)}{why}")
    if request.last.counts:
        announce(_of_counts(request))


def verify(
    receipt: Annotated[Path | None, typer.Argument(help="The file of a receipt.")] = None,
    public_key: Annotated[
        bool, typer.Option("--public-key", help="Print the public key, for others who verify receipts.")
    ] = False,
    key: Annotated[
        Path | None, typer.Option(help="A file with the public key; by default the key of this machine.")
    ] = None,
    user_id_file: Annotated[
        str, typer.Option(help="Also tell whether the receipt is about the ids in this file; - reads them.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Check that a receipt is as it was signed, and whether it is about some user ids."""
    from lastaisle.rights.receipts import ReceiptError, ReceiptKey, names_all, read_receipt
    from lastaisle.rights.receipts import verify as verify_receipt

    settings = read_settings()
    known = (
        _text(str(key))
        if key is not None
        else ReceiptKey.load_or_create(settings.privacy.receipt_key, lake_url=settings.lake.url).public
    )
    if public_key:
        console.print(known.rstrip(), markup=False, highlight=False, soft_wrap=True)
        return
    if receipt is None:
        raise typer.BadParameter("name the file of a receipt, or ask for the --public-key")
    signed = read_receipt(_text(str(receipt)))
    verify_receipt(signed, known)
    told = signed["receipt"]
    announce(
        f"the receipt is as it was signed: {one_line(str(told.get('kind')))} of "
        f"{len(told.get('subjects', ())):,} shoppers, request {one_line(str(told.get('request_id')))}, "
        f"finished {one_line(str(told.get('finished_at')))}"
    )
    if user_id_file:
        if not names_all(signed, _read(user_id_file, as_json)):
            raise ReceiptError("the receipt is not about every one of these user ids")
        announce("the receipt is about these user ids")


def _desk(lake: str) -> Desk:
    from lastaisle.lake.opening import open_lake
    from lastaisle.rights.work import Desk

    settings = read_settings(lake)

    def registry() -> Any:
        from lastaisle.registry.registry import Registry

        return Registry(settings)

    return Desk.of(settings, open_lake(settings), registry)


def _ask(desk: Desk, kind: Kind, user_id_file: str, as_json: bool) -> Request:
    from lastaisle.privacy.accesses import account
    from lastaisle.rights.work import ask

    return ask(desk, kind, _read(user_id_file, as_json), account())


def _work(
    desk: Desk, request: Request, report: Path | None, *, reason: str = "", out: Path | None = None
) -> None:
    """Do a request with a progress bar, and tell what was done."""
    from lastaisle.privacy.accesses import account
    from lastaisle.rights.work import work

    name = request.request_id
    announce(f"request {name}: {request.first.kind} of {request.first.subjects:,} shoppers")
    with bar("Working") as progress:
        done = work(desk, name, actor=account(), reason=reason, out=out, progress=progress)
    write(done.to_dict(datetime.now(UTC)), report)
    announce(_of_counts(done))
    receipt = desk.inbox.folder / "receipts" / f"{name}.json"
    copy = out or desk.inbox.folder / "copies" / f"{name}.json"
    if request.first.kind == "export":
        announce(f"the copy lies in {copy}: hand it out, then delete it")
    announce(f"the receipt lies in {receipt}")


def _of_counts(request: Request) -> str:
    """Tell what was done for a request."""
    counts: dict[str, Any] = dict(request.last.counts)
    if request.first.kind == "erase" and "files_scanned" in counts:
        places = {place["place"]: place["unsearched"] for place in counts["places"] if place["unsearched"]}
        missing = "".join(f"; NOT searched: {name} ({why})" for name, why in places.items())
        return (
            f"{counts['rows']:,} rows erased; a search of {counts['files_scanned']:,} files and "
            f"{counts['bytes_scanned']:,} bytes found {counts['found']:,} ids and pseudonyms{missing}"
        )
    if request.first.kind == "export" and "rows" in counts:
        return f"{sum(counts['rows'].values()):,} rows of {len(counts['rows'])} tables copied"
    return f"refused for: {', '.join(counts['refused'])}" if "refused" in counts else "nothing was done yet"


def _of_places(told: Erased) -> str:
    places = ", ".join(f"{place.rows:,} in {place.place}" for place in told.places if place.rows)
    return f"{told.rows:,} rows erased ({places})" if places else "no row erased: nobody knows these shoppers"


def _read(user_id_file: str, as_json: bool) -> list[str]:
    """Read the user ids from a file or from standard input."""
    from lastaisle.rights.inbox import read_ids

    return read_ids(_bytes(user_id_file), as_json=as_json)


def _text(file: str) -> str:
    return _bytes(file).decode("utf-8", errors="replace")


def _bytes(file: str) -> bytes:
    try:
        if file == "-":
            content = sys.stdin.buffer.read(MOST_BYTES + 1)
        else:
            with Path(file).open("rb") as stream:
                content = stream.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise typer.BadParameter(f"cannot read {file!r}: {why}") from error
    if len(content) > MOST_BYTES:
        raise typer.BadParameter(f"{file!r} has more than {MOST_BYTES >> 20} MiB: split it")
    return content

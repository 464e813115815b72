"""The page Releases: every version with its decision and its fate, the ledger, and the way back."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Request, Response, status
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from starlette.concurrency import run_in_threadpool

from lastaisle.dashboard.access import Access
from lastaisle.dashboard.choices import NotThereError
from lastaisle.dashboard.figures.releases import WORDS, Releases, read_releases
from lastaisle.dashboard.origin import Origin
from lastaisle.dashboard.paging import paged
from lastaisle.dashboard.render import Pages, PagesOf, RollBackRequest, attempt, known
from lastaisle.dashboard.source import Source
from lastaisle.errors import LastaisleError
from lastaisle.lake.tables import RELEASES, TRAINING_RUNS
from lastaisle.registry.ledger import Ledger, Standing
from lastaisle.registry.links import version_page
from lastaisle.release.history import Story, tell

router = APIRouter()
VERSIONS_A_PAGE: Final = 25
MOVES_A_PAGE: Final = 25
_MOST_BYTES: Final = 20_000


@router.get("/releases")
def releases(
    request: Request, pages: PagesOf, page: str = "1", moves: str = "1", version: str = ""
) -> Response:
    """Show the versions, the ledger, and the way back; with a version, go to that version."""
    if version:
        base = str(request.scope.get("root_path", "")).rstrip("/")
        return RedirectResponse(f"{base}/releases/{quote(version.strip(), safe='')}", 303)
    found = attempt(lambda: read_releases(pages.source))
    ledger = known(found)
    return pages.render(
        request,
        "releases",
        title="Releases",
        releases=found,
        words=WORDS,
        versions=paged(ledger.versions, page, VERSIONS_A_PAGE) if ledger else None,
        moves=paged(ledger.moves, moves, MOVES_A_PAGE, "moves") if ledger else None,
        origins=_origins(ledger.table_version if ledger else None),
    )


@router.get("/releases/{version}")
def release(request: Request, pages: PagesOf, version: str) -> HTMLResponse:
    """Show a version: the gate's decision, its story, and the times for which it served."""
    source = pages.source
    name = source.settings.registry.model_name
    found = attempt(lambda: read_releases(source))
    ledger = known(found)
    if ledger is not None:
        require_version(ledger, version)
    story = attempt(
        lambda: source.once(
            ("story", version),
            [RELEASES, TRAINING_RUNS],
            lambda: tell(version, source.lake, name, lambda: source.registry),
        )
    )
    told = known(story)
    return pages.render(
        request,
        "release",
        title=f"Version {version}",
        section="Releases",
        version=version,
        story=story,
        words=WORDS,
        checks=sorted(told.checks, key=lambda check: check.passed) if told else (),
        against=_against(version, told, ledger) if told else None,
        in_mlflow=version_page(source.settings.services.mlflow_ui, name, version),
        origins=_version_origins(version, ledger.table_version if ledger else None, told),
    )


def change_router(access: Access) -> APIRouter:
    """Return the paths that change something; each asks whether its sender may.

    Args:
        access: who may move the champion.
    """
    changes = APIRouter()
    changes.add_api_route(
        "/releases/roll-back",
        _roll_back_as(access),
        methods=["POST"],
        response_class=PlainTextResponse,
    )
    return changes


class _Asked(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request to roll back; an empty version is the version that served before."""

    reason: str
    to_version: str = ""
    force: bool | str = False


def _roll_back_as(access: Access) -> Any:
    """Return the route that rolls back. It reads the body only after it knows that its sender may."""

    async def roll_back(
        request: Request,
        pages: PagesOf,
        actor: str = Depends(access.may_roll_back),
    ) -> PlainTextResponse:
        """Make an earlier version champion, and say what happened in one sentence."""
        asked = _asked(await _body(request))
        return await run_in_threadpool(lambda: _answer(pages, asked, actor))

    return roll_back


async def _body(request: Request) -> bytes:
    received = b""
    async for chunk in request.stream():
        received += chunk
        if len(received) > _MOST_BYTES:
            raise HTTPException(
                status.HTTP_413_CONTENT_TOO_LARGE, f"a request has at most {_MOST_BYTES:,} bytes"
            )
    return received


def _asked(body: bytes) -> _Asked:
    """Return what is asked for.

    Raises:
        HTTPException: 400, the body is not such an object; 422, it has no reason.
    """
    try:
        asked = msgspec.json.decode(body, type=_Asked)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise HTTPException(
            status.HTTP_400_BAD_REQUEST,
            f"a rollback is an object of JSON with to_version, reason and force: {error}",
        ) from error
    if not asked.reason.strip():
        raise HTTPException(
            status.HTTP_422_UNPROCESSABLE_CONTENT, "say why, in a sentence: the reason stands in the ledger"
        )
    return asked


def _answer(pages: Pages, asked: _Asked, actor: str) -> PlainTextResponse:
    """Move the champion. A refusal is an answer in words, since a form shows it."""
    source = pages.source
    to_version = asked.to_version.strip() or None
    try:
        numbers = {
            move.to_version for move in Ledger(source.lake, source.settings.registry.model_name).moves()
        }
        if to_version is not None and to_version not in numbers:
            return PlainTextResponse(
                f"The ledger has no version {to_version[:40]!r}: nothing was moved.",
                status.HTTP_422_UNPROCESSABLE_CONTENT,
            )
        force = asked.force is True or asked.force == "yes"
        said = pages.roll_back(RollBackRequest(to_version, asked.reason.strip(), actor, force))
    except LastaisleError as error:
        return PlainTextResponse(f"Nothing was moved: {error}", status.HTTP_409_CONFLICT)
    return PlainTextResponse(said)


def require_version(found: Releases, version: str) -> None:
    """Refuse a version that the ledger does not know.

    Raises:
        NotThereError: there is no such version.
    """
    if found.version(version) is None:
        newest = found.versions[0].number if found.versions else None
        there = "it has none yet" if newest is None else f"the newest is version {newest}"
        raise NotThereError(f"the ledger has no version {version[:40]!r}: {there}")


def _origins(table_version: int | None) -> list[Origin]:
    return [
        Origin(
            "ledger",
            "The ledger: every move of a version, with its reason.",
            RELEASES,
            table_version,
            "lastaisle releases",
        ),
        Origin(
            "chain",
            "The chain: each row of the ledger holds a digest of itself and of all rows before it.",
            RELEASES,
            table_version,
            "lastaisle releases verify",
        ),
    ]


def _against(version: str, story: Story, found: Releases | None) -> str | None:
    """Return the version with which a version is compared first: the one it learned on from, or another."""
    present = found.standing if found else Standing()
    others = (*story.line, present.champion, present.previous)
    return next((other for other in others if other and other != version), None)


def _version_origins(version: str, table_version: int | None, story: Story | None) -> list[Origin]:
    run_id = (story.moves[-1].run_id or None) if story else None
    return [
        Origin(
            "story",
            f"What the ledger knows of version {version}.",
            RELEASES,
            table_version,
            f"lastaisle releases why {version}",
        ),
        Origin("run", f"The training of version {version}, with its evaluation.", run_id=run_id),
    ]


def begin(source: Source) -> None:
    """Read what the page shows, before somebody asks."""
    read_releases(source)

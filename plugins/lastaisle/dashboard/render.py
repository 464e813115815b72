"""Turn a page's values into HTML: the layout, the menu, and how values are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from importlib.metadata import version as version_of
from typing import Annotated, Any, Final, NamedTuple, TypeVar

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from lastaisle.dashboard import shown
from lastaisle.dashboard.access import HEADER, Access
from lastaisle.dashboard.help import HELP
from lastaisle.dashboard.source import BeingReadError, Source
from lastaisle.errors import LastaisleError
from lastaisle.registry.links import run_page

T = TypeVar("T")


class MenuEntry(NamedTuple):
    """A page in the menu.

    Attributes:
        path: below the dashboard's address.
        name: in the menu and in the page's title.
    """

    path: str
    name: str


MENU: Final = (
    MenuEntry("/", "Today"),
    MenuEntry("/shop", "Shop"),
    MenuEntry("/quality", "Quality"),
    MenuEntry("/data", "Data"),
    MenuEntry("/drift", "Drift"),
    MenuEntry("/releases", "Releases"),
    MenuEntry("/experiments", "Experiments"),
    MenuEntry("/privacy", "Privacy"),
)
AGAIN_SECONDS: Final = 2
"""After this time the browser loads a page again that has parts which are still being read."""


@dataclass(frozen=True)
class RollBackRequest:
    """What a person asked for.

    Attributes:
        to_version: the version that becomes champion; None = the previous champion.
        reason: why.
        actor: who asked.
        force: whether a version that the gate never promoted may become champion.
    """

    to_version: str | None
    reason: str
    actor: str
    force: bool = False


RollBack = Callable[[RollBackRequest], str]
"""Moves the champion, or starts the move; returns a sentence that says what happened."""


@dataclass(frozen=True)
class Waiting:
    """A question that waits for the answer of a person.

    Attributes:
        subject: what is asked, in a sentence.
        since: when it was asked (UTC).
        until: when it is answered without a person (UTC); None if it waits for ever.
        url: the page on which it is answered.
    """

    subject: str
    since: datetime
    until: datetime | None
    url: str


def nothing_waits() -> list[Waiting]:
    """Return the questions of a dashboard by itself: only Airflow asks people."""
    return []


@dataclass(frozen=True)
class Problem:
    """A part of a page that could not be read. The other parts are shown.

    Attributes:
        text: what could not be read, and why.
    """

    text: str


@dataclass(frozen=True)
class Pending(Problem):
    """A part of a page that is still being read. The browser loads the page again after a while."""


def attempt(compute: Callable[[], T]) -> T | Problem:
    """Return a part of a page, or why it cannot be read."""
    try:
        return compute()
    except BeingReadError as error:
        return Pending(str(error))
    except LastaisleError as error:
        return Problem(str(error))


def known(part: T | Problem) -> T | None:
    """Return a part of a page; None if it could not be read."""
    return None if isinstance(part, Problem) else part


@dataclass(frozen=True)
class Pages:
    """What all pages share; see `lastaisle.dashboard.app.create_app` for the first five.

    Attributes:
        now: returns the present moment (UTC).
    """

    source: Source
    access: Access
    roll_back: RollBack
    is_embedded: bool
    waiting: Callable[[], list[Waiting]] = nothing_waits
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    @cached_property
    def _environment(self) -> Environment:
        environment = Environment(
            loader=PackageLoader("lastaisle.dashboard"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        environment.filters |= shown.FILTERS
        environment.tests["problem"] = lambda value: isinstance(value, Problem)
        environment.tests["pending"] = lambda value: isinstance(value, Pending)
        return environment

    def render(
        self,
        request: Request,
        template: str,
        *,
        title: str,
        section: str | None = None,
        status: int = 200,
        **values: Any,
    ) -> HTMLResponse:
        """Return a page.

        Args:
            request: the request; its root path comes before each address of the page.
            template: the name of the file among the templates, without .html.j2.
            title: of the page.
            section: the name of the page's entry in the menu; by default the title.
            status: of the answer.
            **values: what the template shows.
        """
        base = str(request.scope.get("root_path", "")).rstrip("/")
        html = self._environment.get_template(f"{template}.html.j2").render(
            base=base,
            title=title,
            section=section or title,
            menu=MENU,
            now=self.now(),
            is_embedded=self.is_embedded,
            release=version_of("lastaisle"),
            change_header=HEADER,
            help=HELP,
            run_page=partial(run_page, self.source.settings.services.mlflow_ui),
            **{"origins": (), **values},
        )
        is_pending = any(isinstance(value, Pending) for value in values.values())
        return HTMLResponse(html, status, {"Refresh": f"{AGAIN_SECONDS}"} if is_pending else None)


def pages_of(request: Request) -> Pages:
    """Return what all pages share, for a route."""
    pages: Pages = request.app.state.pages
    return pages


PagesOf = Annotated[Pages, Depends(pages_of)]


def problems_in(parts: Sequence[object]) -> list[Problem]:
    """Return the parts of a page that could not be read."""
    return [part for part in parts if isinstance(part, Problem)]

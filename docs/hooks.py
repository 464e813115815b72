"""MkDocs hooks: show the pages that lie in the project's root, and check links to the project's files.

The same links work on a code host and in the built pages. `../DECISIONS.md` in docs/ and `docs/logs.md` in
the root lead to a page. A link to any other file of the project becomes its path. A missing file is a
warning, which a strict build refuses.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

log = logging.getLogger("mkdocs.plugins.lastaisle")

ROOT = Path(__file__).resolve().parent.parent
_IN_THE_ROOT = ("README.md", "DECISIONS.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
#: Pages that lie in the root, by their names there.
ROOT_PAGES = {name: name.lower() for name in _IN_THE_ROOT}

_LINK = re.compile(r"(?P<text>\[[^\]]*\])\((?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root."""
    for name, page in ROOT_PAGES.items():
        text = _map_links((ROOT / name).read_text(encoding="utf-8"), "", name)
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Map the links of a page in docs/ that lead out of it."""
    path = page.file.src_path
    return markdown if path in ROOT_PAGES.values() else _map_links(markdown, "../", path)


def _map_links(markdown: str, up: str, page: str) -> str:
    """Map links to files of the root; `up` is how such a link begins on this page."""

    def map_link(match: re.Match[str]) -> str:
        path, anchor = match["path"], match["anchor"] or ""
        if not path.startswith(up):
            return match[0]
        target = path.removeprefix(up)
        if target in ROOT_PAGES:
            return f"{match['text']}({ROOT_PAGES[target]}{anchor})"
        if target.startswith("docs/"):
            return f"{match['text']}({target.removeprefix('docs/')}{anchor})"
        if not (ROOT / target).exists():
            log.warning("%s links to %s, and the project has no such file", page, target)
        return f"`{target}`"

    return _LINK.sub(map_link, markdown)

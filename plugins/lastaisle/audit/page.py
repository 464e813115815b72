"""An audit as one HTML page that loads nothing, for the screen and for paper."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from lastaisle.audit.finding import SECTIONS, Audit, State
from lastaisle.telemetry.shown import utc


def html_of(audit: Audit) -> str:
    """Return the page: what failed on top, then the findings by section, the data map, and a signature."""
    environment = Environment(
        loader=PackageLoader("lastaisle.audit"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    by_section = {
        title: [one for one in audit.findings if one.section == section]
        for section, title in SECTIONS.items()
    }
    return environment.get_template("audit.html.j2").render(
        audit=audit,
        at=utc(audit.at),
        verdict=verdict(audit),
        urgent=[one for one in audit.findings if one.state is State.FAILED],
        by_section={title: found for title, found in by_section.items() if found},
        titles=SECTIONS,
        tables=audit.tables,
    )


def verdict(audit: Audit) -> str:
    """Return what the audit says, in a sentence."""
    failed, unknown, kept = (audit.count(state) for state in (State.FAILED, State.NOT_KNOWN, State.OK))
    begin = "Nothing failed" if not failed else f"{failed} {'check' if failed == 1 else 'checks'} failed"
    return f"{begin}, {unknown} {'is' if unknown == 1 else 'are'} not known, {kept} are ok."

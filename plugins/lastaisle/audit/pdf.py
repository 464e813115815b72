"""An audit as a PDF on A4: the findings, the data map, and a line for the signature."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fpdf import FPDF
from fpdf.enums import XPos, YPos
from fpdf.fonts import FontFace

from lastaisle.audit.finding import SECTIONS, Audit, State
from lastaisle.audit.page import verdict
from lastaisle.telemetry.shown import utc

_COLORS: Final = {State.FAILED: (164, 22, 26), State.NOT_KNOWN: (122, 75, 0), State.OK: (27, 107, 54)}
_FONT: Final = "DejaVu"


class _Document(FPDF):
    """A document whose pages are numbered, and name the audit."""

    def __init__(self, audit: Audit) -> None:
        super().__init__(format="A4")
        self._name = audit.audit_id
        folder = _fonts()
        self.add_font(_FONT, "", folder / "DejaVuSans.ttf")
        self.add_font(_FONT, "B", folder / "DejaVuSans-Bold.ttf")
        self.set_creation_date(audit.at)
        self.set_title(f"Audit of privacy, {audit.first_day} to {audit.last_day}")
        self.set_lang("en")
        self.set_margins(16, 16, 16)
        self.set_auto_page_break(auto=True, margin=18)

    def footer(self) -> None:
        """Write the number of the page."""
        self.set_y(-12)
        self.set_font(_FONT, size=7)
        self.set_text_color(85, 85, 92)
        self.cell(0, 5, f"Audit {self._name}, page {self.page_no()} of {{nb}}", align="C")
        self.set_text_color(0, 0, 0)

    def line_of(self, text: str, size: float = 9, style: str = "") -> None:
        """Write one paragraph."""
        self.set_font(_FONT, style, size)
        self.multi_cell(0, size * 0.5, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def pdf_of(audit: Audit) -> bytes:
    """Return the pages of an audit as a PDF."""
    document = _Document(audit)
    document.add_page()
    document.line_of("Audit of privacy", 16, "B")
    document.ln(1)
    document.line_of(f"{audit.first_day} to {audit.last_day} (UTC), made {utc(audit.at)}.")
    document.ln(1)
    document.line_of(verdict(audit), 10, "B")
    document.ln(2)
    _findings(document, audit)
    document.ln(4)
    document.line_of("Which data is where, and why", 11, "B")
    document.ln(1)
    _map(document, audit)
    _signature(document)
    return bytes(document.output())


def _findings(document: _Document, audit: Audit) -> None:
    """Write all findings in one table, the failed ones first."""
    document.set_font(_FONT, size=7.5)
    bold = FontFace(emphasis="BOLD")
    with document.table(
        col_widths=(17, 26, 38, 97),
        borders_layout="HORIZONTAL_LINES",
        text_align="LEFT",
        line_height=3.9,
        headings_style=bold,
    ) as table:
        table.row(("State", "Section", "Question", "Answer"))
        for one in audit.findings:
            row = table.row()
            row.cell(one.state.value, style=FontFace(color=_COLORS[one.state], emphasis="BOLD"))
            row.cell(SECTIONS[one.section])
            row.cell(one.name)
            row.cell(one.told)


def _map(document: _Document, audit: Audit) -> None:
    document.set_font(_FONT, size=6.5)
    bold = FontFace(emphasis="BOLD")
    with document.table(
        col_widths=(30, 22, 28, 36, 28, 18, 24),
        borders_layout="HORIZONTAL_LINES",
        text_align="LEFT",
        line_height=3.4,
        headings_style=bold,
    ) as table:
        table.row(("Table", "Rows", "Holds", "Purposes", "Legal basis", "Kept", "Made of"))
        for one in audit.tables:
            kept = f"{one.days} days" if one.days else "for ever"
            rows = "never written" if one.rows is None else f"{one.rows:,}"
            purposes, made_of = ", ".join(one.purposes), ", ".join(one.made_of) or "-"
            table.row((one.name, rows, one.holds, purposes, one.legal_basis, kept, made_of))


def _signature(document: _Document) -> None:
    if document.get_y() > document.h - 55:
        document.add_page()
    document.ln(22)
    left, half, at = document.l_margin, document.epw / 2, document.get_y()
    for number, words in enumerate(("Privacy officer", "Place and date")):
        begin = left + number * half
        document.line(begin, at, begin + half - 10, at)
        document.set_xy(begin, at + 1)
        document.set_font(_FONT, size=8)
        document.cell(half - 10, 5, words)


def _fonts() -> Path:
    """Return the folder of the fonts that matplotlib brings along."""
    import matplotlib as mpl

    return Path(mpl.get_data_path()) / "fonts" / "ttf"

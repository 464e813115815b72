"""The answer of people who were asked about a risky release: one more rule in the decision table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from lastaisle.errors import ExitCode, LastaisleError
from lastaisle.release.gate import Check

APPROVAL: Final = "approval"
"""The name of the rule in the decision table."""


class ApprovalOutdatedError(LastaisleError):
    """An approval whose decision table compares with a former champion."""

    exit_code = ExitCode.OVERTAKEN


@dataclass(frozen=True)
class Approval:
    """What people answered.

    Attributes:
        approved: whether the candidate may serve.
        by: the name of the person; None = nobody answered in time.
        risks: the names of the risks that were shown, such as new_architecture.
        champion: the champion in the decision table that was shown; None = there was none.
    """

    approved: bool
    by: str | None
    risks: tuple[str, ...]
    champion: str | None

    def check(self) -> Check:
        """Return the answer as a rule that is kept or broken."""
        shown = f"The risks were: {', '.join(self.risks)}." if self.risks else "There was no risk."
        if self.by is None:
            said = "Nobody answered in time, and then the answer is Reject."
        else:
            said = f"{self.by} {'approved' if self.approved else 'rejected'} the release."
        return Check(APPROVAL, self.approved, f"{said} {shown}")

    def refuse_outdated(self, champion: str | None) -> None:
        """Refuse an answer to another comparison.

        Raises:
            ApprovalOutdatedError: another version is champion by now.
        """
        if champion != self.champion:
            raise ApprovalOutdatedError(
                f"the release was decided on in comparison with champion version {self.champion}, but now "
                f"version {champion} is champion: nothing was moved. Clear the task "
                "assess_risks of this run: people are asked again"
            )

"""Ledgers for the tests of the pages."""

from datetime import timedelta

from lastaisle.registry.ledger import Ledger, Move
from lastaisle.release.gate import Check, Decision
from tests.dashboard.conftest import NOW

PASSED = Check("coverage", True, "It covers enough.", 0.4, ">= 0.3500")
BROKEN = Check("not_worse_than_champion", False, "Version 3 is surely worse than version 2.", -0.4, "> -0.02")
DECISIONS = {"promote": Decision(True, (PASSED,)), "refuse": Decision(False, (PASSED, BROKEN))}
MOVES = (
    *(("register", "1"), ("promote", "1"), ("register", "2"), ("promote", "2")),
    *(("register", "3"), ("refuse", "3")),
)


def write_ledger(source, told=MOVES, reason="Reason {}. It is long."):
    """Write moves, one an hour up to NOW: 1 and 2 are promoted, 3 is refused."""
    ledger = Ledger(source.lake, source.settings.registry.model_name)
    for number, (action, version) in enumerate(told):
        alias = "challenger" if action == "register" else "champion"
        decision = DECISIONS.get(action)
        ledger.write(
            Move(
                move_id=f"m{number}",
                moved_at=NOW - timedelta(hours=len(told) - number),
                actor="anna",
                action=action,
                model_name=source.settings.registry.model_name,
                alias=alias,
                from_version=ledger.standing().aliases[alias],
                to_version=version,
                reason=reason.format(number),
                run_id=f"run-{version}",
                run_key="k",
                decision=decision.to_json() if decision else None,
            )
        )
    return ledger

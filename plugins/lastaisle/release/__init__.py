"""From a trained candidate to the version that serves: evaluate, gate, register, promote, roll back."""

from lastaisle.release.evaluate import evaluate_candidate
from lastaisle.release.gate import Decision, GateRules, decide
from lastaisle.release.ledger import Ledger, Move
from lastaisle.release.registry import Registry
from lastaisle.release.release import NotEvaluatedError, current_champion, release_candidate, settle
from lastaisle.release.report import EvaluationReport
from lastaisle.release.rollback import RollbackReport, rollback

__all__ = [
    "Decision",
    "EvaluationReport",
    "GateRules",
    "Ledger",
    "Move",
    "NotEvaluatedError",
    "Registry",
    "RollbackReport",
    "current_champion",
    "decide",
    "evaluate_candidate",
    "release_candidate",
    "rollback",
    "settle",
]

"""Data contracts."""

from __future__ import annotations

from data_contracts.contract import Contract, Field, load_contract
from data_contracts.errors import ContractError
from data_contracts.privacy import Treatment, hmac_pads
from data_contracts.rules import Rule

__all__ = ["Contract", "ContractError", "Field", "Rule", "Treatment", "hmac_pads", "load_contract"]

"""The models of billing: catalogue, prices, budgets, holds, the usage log and its rollups."""

from billing.models.alerts import AlertSettings, BudgetAlert
from billing.models.amounts import MONEY, RATE
from billing.models.budgets import Budget, BudgetWindow
from billing.models.catalogue import AIModel, ModelPrice
from billing.models.rollups import RollupState, UsageRollup
from billing.models.unpriced import UnpricedUsage
from billing.models.usage import Hold, UsageLog

__all__ = [
    "MONEY", "RATE", "AIModel", "AlertSettings", "Budget", "BudgetAlert", "BudgetWindow", "Hold", "ModelPrice", "RollupState",
    "UnpricedUsage", "UsageLog", "UsageRollup",
]  # fmt: skip

"""The admin of billing."""

from billing.admin import budgets, catalogue, sums, usage_log
from billing.admin.catalogue import AIModelAdmin
from billing.admin.usage_log import SURFACES

__all__ = ["SURFACES", "AIModelAdmin", "budgets", "catalogue", "sums", "usage_log"]

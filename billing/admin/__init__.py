"""Money in the back office."""

from billing.admin import books, budgets, catalogue, sums
from billing.admin.books import SURFACES
from billing.admin.budgets import NAMES
from billing.admin.catalogue import AIModelAdmin

__all__ = ["NAMES", "SURFACES", "AIModelAdmin", "books", "budgets", "catalogue", "sums"]

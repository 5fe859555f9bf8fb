"""Money in the back office."""

from billing.admin import books, budgets, catalogue, sums
from billing.admin.books import SURFACES
from billing.admin.catalogue import AIModelAdmin

__all__ = ["SURFACES", "AIModelAdmin", "books", "budgets", "catalogue", "sums"]

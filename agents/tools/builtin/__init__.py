"""The built-in tools. Importing a module registers its tools."""

from agents.tools.builtin import calculator, clock, page

__all__ = ["calculator", "clock", "page"]

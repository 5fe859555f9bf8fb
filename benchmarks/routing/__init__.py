"""How well `auto` chooses, measured on public tables of two models' results for the same prompts (docs/routing.md)."""

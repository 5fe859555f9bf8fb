"""Our Daphne: the same protocols, with limits on what comes in, back-pressure on what goes out, and a drain at the end.

Why not Daphne's own command: docs/adr/0003. `python -m aiagents.server --help` shows what it takes.
"""

"""A web server based on Daphne, with limits on requests, back-pressure on responses, and a drain at shutdown.

docs/adr/0003 explains why Daphne's own command is not used. `python -m aiagents.server --help` lists the options.
"""

"""Pytest plugins of the suite: its servers, the canary of secrets, the report of processor time."""

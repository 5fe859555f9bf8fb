"""Agents, their tools and the vendors in the back office."""

from agents.admin import agents, connections, people, tools

__all__ = ["agents", "connections", "people", "tools"]

"""Agents, their tools and the vendors in the back office."""

from agents.admin import agents, connections, tools

__all__ = ["agents", "connections", "tools"]

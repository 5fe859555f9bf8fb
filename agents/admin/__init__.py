"""Admin pages of agents, tools and vendor connections."""

from agents.admin import agents, connections, people, tools

__all__ = ["agents", "connections", "people", "tools"]

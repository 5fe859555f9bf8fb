"""Admin pages of agents, tools and vendor connections."""

from agents.admin import agents, connections, model_rules, people, tools

__all__ = ["agents", "connections", "model_rules", "people", "tools"]

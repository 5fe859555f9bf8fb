"""A loopback server that simulates the vendors' APIs and their faults, for demos, tests and benchmarks.

It refuses what the vendors refuse (`rules`).
`async with Simulator() as sim` in an async test, `with SimulatorThread() as sim` in a sync one,
`python -m agents.simulator PORT` as a process.
"""

from agents.simulator.server import Seen, Simulator
from agents.simulator.thread import SimulatorThread

__all__ = ["Seen", "Simulator", "SimulatorThread"]

"""`python -m agents.simulator PORT`: simulated vendors for a demo without keys.

SIMULATOR_PACE_MS sets the pace of tokens. SIMULATOR_TOKEN is the bearer token for reading the recorded requests
(`/__sim/requests`) and for planning faults. The starter of the process creates it; without it they are refused.
SIMULATOR_STRICT=0 takes what the vendors refuse, for load tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading

from agents.simulator import rules
from agents.simulator.server import Simulator

DEMO_PACE_MS = 25.0


async def serve(port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    pace = float(os.environ.get("SIMULATOR_PACE_MS") or DEMO_PACE_MS) / 1000
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for wanted in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(wanted, stop.set)
    # A demo runs for days, so it keeps only the latest requests.
    strict = os.environ.get("SIMULATOR_STRICT", "1") != "0"
    if strict:
        # Not awaited: the SDKs' types take two seconds to load, and the first requests may come before.
        threading.Thread(target=rules.load, name="rules", daemon=True).start()
    sim = await Simulator(pace=pace, keep=2_000, token=os.environ.get("SIMULATOR_TOKEN", ""), strict=strict).start(port)
    print(f"simulator listening on {sim.url}", flush=True)
    await stop.wait()
    await sim.stop()


def main(arguments: list[str]) -> None:
    port = int(arguments[0]) if arguments else 0
    with contextlib.suppress(ImportError):
        # Twice the streams for the same processor time, where the product's event loop is installed.
        import uvloop

        uvloop.install()
    asyncio.run(serve(port))


if __name__ == "__main__":
    main(sys.argv[1:])

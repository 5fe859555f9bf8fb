"""Other gateways for comparison, started if they are installed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

from benchmarks.client import load
from benchmarks.client.connections import Connection, Lost
from benchmarks.harness.installation import MODEL, Installation
from benchmarks.harness.meter import Meter
from tests.kit.servers.server_process import free_port

# LiteLLM with database, keys and spend is the fair comparison. Its Prisma engine is a download; without it LiteLLM runs bare.
# An earlier run measured both on one machine; these two ratios scale the figures of the bare one.
LITELLM_RATE_WITH_DATABASE = 39 / 94
LITELLM_CPU_WITH_DATABASE = (27 + 2.5 + 1.6) / 10.6


def litellm(installed: Installation, command: str, database: str = "") -> tuple[load.Target, Meter] | None:
    """LiteLLM's proxy in front of the same vendor; None, with a message on stderr, if it does not start.

    It has keys, spend and a database if `database` is the URL of one that its Prisma engine can reach.
    """
    port, folder = free_port(), installed.folder
    config = folder / "litellm.yaml"
    config.write_text(
        f"model_list:\n  - model_name: {MODEL}\n    litellm_params:\n      model: openai/{MODEL}\n"
        f"      api_base: http://127.0.0.1:{installed.live.sim_port}/v1\n      api_key: sk-sim\n"
        "general_settings:\n  master_key: sk-bench\nlitellm_settings:\n  num_retries: 0\n"
    )
    env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    env |= {"DATABASE_URL": database} if database else {}
    env |= {"LITELLM_LOG": "ERROR", "NO_PROXY": "*", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    log = folder / "litellm.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [command, "--config", str(config), "--port", str(port), "--host", "127.0.0.1"],
            env=env, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    installed.others.append(process)
    target = load.Target("litellm", port, ("sk-bench",), MODEL)
    if asyncio.run(_answers(target, 120)):
        return target, Meter([process.pid])
    print("LiteLLM did not start:", log.read_text()[-2000:], file=sys.stderr)
    return None


async def _answers(target: load.Target, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        line = Connection(target.port)
        try:
            if (await line.ask(target.request("Hi", False), target.wire))[0] == 200:
                return True
        except (OSError, Lost):
            pass
        finally:
            line.close()
        await asyncio.sleep(0.3)
    return False

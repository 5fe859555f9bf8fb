"""What every web process does beside its requests: end, at start and ever after, what dead processes left behind.

Celery beat does the same every ten seconds; a product without a worker still tidies up.
"""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakKeyDictionary

from agents.runs import sweep as run_sweep
from aiagents.core.db.calls import in_db
from aiagents.core.errors import Unavailable
from billing.ledger import service as ledger
from chat.turns import service as turns

logger = logging.getLogger(__name__)
SWEEP_EVERY = 10.0
_keepers: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()


def keep() -> None:
    """Keep house on the running loop from now on; may be called with every request."""
    loop = asyncio.get_running_loop()
    if loop not in _keepers:
        _keepers[loop] = loop.create_task(_sweep(), name="chat house")


async def _sweep() -> None:
    while True:
        try:
            await in_db(ledger.sweep)
            await in_db(run_sweep.sweep)
            await in_db(turns.sweep)
        except Unavailable:
            logger.warning("sweep_waits_for_database")
        except Exception:
            logger.exception("sweep_failed")
        await asyncio.sleep(SWEEP_EVERY)

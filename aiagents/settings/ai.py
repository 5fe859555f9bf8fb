"""Settings of model calls, turns, agents and tools, each with its unit."""

from pydantic import SecretStr

from aiagents.settings.env import env
from aiagents.settings.routing import weights_by_goal


def _key(secret: SecretStr | None) -> str:
    return secret.get_secret_value() if secret else ""


SIMULATOR = env.simulator
SIMULATOR_PORT = env.simulator_port or env.port + 99
SIMULATOR_URL = f"http://127.0.0.1:{SIMULATOR_PORT}"

# Vendor -> key and base URL from the environment; a saved ProviderConnection of that vendor overrides them.
VENDORS = {
    "openai": {"api_key": _key(env.openai_api_key), "base_url": env.openai_base_url or "https://api.openai.com/v1"},
    "anthropic": {"api_key": _key(env.anthropic_api_key), "base_url": env.anthropic_base_url or "https://api.anthropic.com"},
    "google": {
        "api_key": _key(env.google_api_key),
        "base_url": env.google_base_url or "https://generativelanguage.googleapis.com",
    },
}

# Seconds.
LLM_CONNECT_TIMEOUT = env.llm_connect_timeout
LLM_FIRST_TOKEN_TIMEOUT = env.llm_first_token_timeout
LLM_IDLE_TIMEOUT = env.llm_idle_timeout
LLM_TOTAL_TIMEOUT = env.llm_total_timeout
# A response without streaming sends nothing until it is complete: its time-out is the first-token time plus this per allowed token.
LLM_WHOLE_SECONDS_PER_TOKEN = 0.04
# A vendor's Retry-After is honoured up to this many seconds; a longer one makes the call use another candidate.
LLM_RETRY_AFTER_CAP = 5.0
# The largest Retry-After, in seconds, that clients get, even if a vendor sends a larger one.
PROVIDER_RETRY_AFTER_MOST = 3600

LLM_MAX_ATTEMPTS = env.llm_max_attempts
# 0: no limit of ours.
LLM_DEFAULT_MAX_OUTPUT_TOKENS = env.llm_default_max_output_tokens
RESPONSES_KEPT_SECONDS = env.responses_kept_seconds
RESPONSES_KEPT_BYTES = env.responses_kept_bytes
DEFAULT_MODEL = env.default_model

# The price of a model without a known one, for holds and charges, in USD per million tokens; such calls are flagged.
UNKNOWN_PRICE_CEILING_PER_MTOK = 150
# The price of one of something else that a vendor counts and that has no known price, such as a call of its tools, in USD.
UNKNOWN_PRICE_CEILING_PER_CALL = "0.10"
# The model that `auto` is compared with in the shown savings.
ROUTING_BASELINE_MODEL = "gpt-4o"

# The weights of quality, cost and time in `auto` routing, by goal (docs/adr/0084-routing-rule.md).
ROUTING_WEIGHTS = weights_by_goal(env)
# Thumbs up and down of the last FEEDBACK_DAYS days move a model's quality in `auto` by at most FEEDBACK_MOST_POINTS of 100.
# FEEDBACK_PRIOR_VOTES votes move it half of that. One person's votes on one model count at most FEEDBACK_VOTES_PER_USER
# times, once a day.
ROUTING_FEEDBACK = env.routing_feedback
FEEDBACK_DAYS = 90
FEEDBACK_MOST_POINTS = 10.0
FEEDBACK_PRIOR_VOTES = 30
FEEDBACK_VOTES_PER_USER = 5

# Seconds without a heartbeat after which a hold is swept: charged by estimate and released.
HOLD_SILENCE_SECONDS = 20
# Seconds between two progress reports of turns and holds: the most progress that kill -9 loses.
PROGRESS_INTERVAL_SECONDS = 1.0
# A turn's event log in Valkey: seconds between two batches, and seconds that it is kept after its last event.
TURN_LOG_BATCH_SECONDS = 0.03
# Events that viewers may get before the event log has them, while it can be written: the most that kill -9 takes back from them.
TURN_LOG_MOST_AHEAD = 64
TURN_LOG_TTL_SECONDS = 3600
MAX_CONCURRENT_TURNS_PER_USER = 20
CHAT_TITLES = env.chat_titles
DELETED_RETENTION_DAYS = env.deleted_retention_days
# Pending bytes of a slow viewer after which it is disconnected; it can connect again.
VIEWER_MAX_PENDING_BYTES = 1024 * 1024
# Seconds without progress, with bytes pending, after which a client is disconnected.
VIEWER_STALL_SECONDS = 30.0
SSE_HEARTBEAT_SECONDS = 15.0

# Seconds after which a tool call of a chat turn without a decision is denied. A run over the API is parked instead and
# cancelled after AGENT_PARKED_SECONDS.
AGENT_APPROVAL_SECONDS = env.agent_approval_seconds
AGENT_PARKED_SECONDS = 7 * 86400
# Tool calls of one step that run at the same time, and the most that are executed at all.
AGENT_TOOLS_AT_ONCE = 8
AGENT_CALLS_PER_STEP = 32
# Seconds without a heartbeat after which a run is ended as interrupted.
AGENT_SILENCE_SECONDS = 20
MAX_CONCURRENT_RUNS_PER_USER = 20
# The most model calls and seconds that an agent's limits may allow for one run.
AGENT_MAX_STEPS = env.agent_max_steps
AGENT_MAX_SECONDS = env.agent_max_seconds
AGENT_MAX_TOOLS = 32
MAX_AGENTS_PER_USER = 500
# Limits of one tool call: seconds, characters of its arguments, characters of its result.
TOOL_MAX_SECONDS = 60.0
TOOL_MAX_ARGUMENT_CHARS = 100_000
TOOL_MAX_OUTPUT_CHARS = 40_000
# Bytes of a page that fetch_page reads, after decompression.
PAGE_MAX_BYTES = 2_000_000

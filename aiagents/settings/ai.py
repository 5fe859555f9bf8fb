"""All that a model call reads, each with its unit."""

from aiagents.settings.env import env
from aiagents.settings.routing import weights_by_goal


def _key(secret) -> str:
    return secret.get_secret_value() if secret else ""


SIMULATOR = env.simulator
SIMULATOR_PORT = env.simulator_port or env.port + 99
SIMULATOR_URL = f"http://127.0.0.1:{SIMULATOR_PORT}"

# Vendor -> key and base URL from the environment; a saved ProviderConnection of that vendor wins.
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
# A whole (not streamed) answer is silent until it is written: beside the first-token time it gets this much per token it may have.
LLM_WHOLE_SECONDS_PER_TOKEN = 0.04
# A vendor's Retry-After is honoured up to this many seconds; longer means: another candidate.
LLM_RETRY_AFTER_CAP = 5.0
# Clients are told to wait at most so many seconds, whatever a vendor asks for.
PROVIDER_RETRY_AFTER_MOST = 3600

LLM_MAX_ATTEMPTS = env.llm_max_attempts
LLM_DEFAULT_MAX_OUTPUT_TOKENS = env.llm_default_max_output_tokens
DEFAULT_MODEL = env.default_model

# A model without a known price is held and charged at this, USD per million tokens, and flagged.
UNKNOWN_PRICE_CEILING_PER_MTOK = 150
# What `auto` is compared with when the saving is shown.
ROUTING_BASELINE_MODEL = "gpt-4o"

# How `auto` weighs quality against money and time, by goal (docs/adr/0084-routing-rule.md).
ROUTING_WEIGHTS = weights_by_goal(env)
# Thumbs up and down on answers of so many days move a model's quality in `auto`, by so many points (of 100) at most. As many
# votes as the prior weighs move it half of the way; one person's votes on one model count so often at most, once a day.
ROUTING_FEEDBACK = env.routing_feedback
FEEDBACK_DAYS = 90
FEEDBACK_MOST_POINTS = 10.0
FEEDBACK_PRIOR_VOTES = 30
FEEDBACK_VOTES_PER_USER = 5

# A hold whose process has been silent this long (seconds) is swept: charged by estimate and released.
HOLD_SILENCE_SECONDS = 20
# Turns and holds report their progress this often (seconds): what kill -9 may lose at most.
PROGRESS_INTERVAL_SECONDS = 1.0
# The turn's log in Valkey: batches this often (seconds), kept this long after its last event.
TURN_LOG_BATCH_SECONDS = 0.03
# A viewer is at most this many events ahead of that log while it can be written: what kill -9 may take back from what was seen.
TURN_LOG_MOST_AHEAD = 64
TURN_LOG_TTL_SECONDS = 3600
MAX_CONCURRENT_TURNS_PER_USER = 20
CHAT_TITLES = env.chat_titles
DELETED_RETENTION_DAYS = env.deleted_retention_days
# A viewer that is this many bytes behind is let go; it can re-attach.
VIEWER_MAX_PENDING_BYTES = 1024 * 1024
# A client that takes nothing at all for so many seconds, with bytes waiting for it, is hung up on.
VIEWER_STALL_SECONDS = 30.0
SSE_HEARTBEAT_SECONDS = 15.0

# A tool call of a chat turn that waits for a person is denied after this many seconds; a run over the API is parked and
# waits this long (seconds) before it is cancelled.
AGENT_APPROVAL_SECONDS = env.agent_approval_seconds
AGENT_PARKED_SECONDS = 7 * 86400
# Tool calls of one step that run at once, and that are heard at all.
AGENT_TOOLS_AT_ONCE = 8
AGENT_CALLS_PER_STEP = 32
# A run whose process has been silent this long (seconds) is ended as interrupted.
AGENT_SILENCE_SECONDS = 20
MAX_CONCURRENT_RUNS_PER_USER = 20
# No agent may be given more model calls, or seconds, for one run.
AGENT_MAX_STEPS = env.agent_max_steps
AGENT_MAX_SECONDS = env.agent_max_seconds
AGENT_MAX_TOOLS = 32
MAX_AGENTS_PER_USER = 500
# One tool call: seconds, characters of what the model sends and of what it gets back.
TOOL_MAX_SECONDS = 60.0
TOOL_MAX_ARGUMENT_CHARS = 100_000
TOOL_MAX_OUTPUT_CHARS = 40_000
# Bytes that fetch_page reads of a page, after decompression.
PAGE_MAX_BYTES = 2_000_000

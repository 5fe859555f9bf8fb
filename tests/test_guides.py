"""The guides and decisions name nothing that does not exist: tests, files, settings, commands, metrics."""

from __future__ import annotations

import re

import pytest
import yaml
from django.core.management import get_commands

from aiagents.core.metrics import counters as metrics
from aiagents.settings.env import Env
from tests.kit.servers.live import ROOT

GUIDES = [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
# In the guides' code, but no setting of the product's.
OTHERS = {
    "POSTGRES_PASSWORD",
    "VALKEY_PASSWORD",
    "WEB_REPLICAS",
    "TASK_WORKER_REPLICAS",
    "AIAGENTS_TAG",
    "OUTAGE_SECONDS",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_MODEL",
    "FULL_SECONDS",
    "REDISCLI_AUTH",
    "KEEP_TEST_SERVERS",
    "PR_SET_PDEATHSIG",
    # Gemini's finish reasons
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_test_and_file_that_is_named_is_there(guide):
    text = guide.read_text()
    for path, name in re.findall(r"`?((?:[a-z_]+/)+(?:test_\w+|canary)\.py)(?:::(\w+))?", text):
        assert (ROOT / path).exists(), path
        assert not name or re.search(rf"def {name}\(", (ROOT / path).read_text()), f"{path}::{name}"
    for target in re.findall(r"\]\(([^)#]+)", text):
        assert target.startswith("http") or (guide.parent / target).exists(), target


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_every_setting_and_command_that_is_named_exists(guide):
    text = guide.read_text()
    fields = {name.upper() for name in Env.model_fields}
    source = "".join(path.read_text() for path in (ROOT / "aiagents" / "settings").glob("*.py"))
    for name in re.findall(r"`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)[=`]", text):
        assert name in fields or name in OTHERS or re.search(rf"\b{name}\b", source), name
    for command in re.findall(r"manage\.py ([a-z_]+)", text):
        assert command in get_commands(), command


def test_alerts_ask_for_metrics_that_are_counted():
    counted = {name for metric in metrics.REGISTRY.collect() for name in (metric.name, f"{metric.name}_total")} | {
        "aiagents_queue_depth",
        "up",
    }
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    asked = {name for rule in rules for name in re.findall(r"\b(aiagents_\w+|up)\b(?=[{\[ ])", rule["expr"])}
    assert asked and not asked - counted, asked - counted

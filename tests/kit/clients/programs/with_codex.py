"""Codex, the command: a question, and a command that the model has it run. A proxy that is not there keeps it on loopback."""

import os
import pathlib
import subprocess
import tempfile

import steps

CODEX = os.environ["AIAGENTS_CODEX"]
CONFIG = """
model = "{model}"
model_provider = "aiagents"
approval_policy = "never"
sandbox_mode = "danger-full-access"
[model_providers.aiagents]
name = "aiagents"
base_url = "{url}/v1"
env_key = "AIAGENTS_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
[analytics]
enabled = false
"""


def codex(model, prompt):
    """Return what Codex prints for a prompt, in a home and a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder, "home")
        home.mkdir()
        (home / "config.toml").write_text(CONFIG.format(model=model, url=steps.URL))
        environment = {
            "PATH": os.environ["PATH"], "HOME": folder, "CODEX_HOME": str(home), "AIAGENTS_KEY": steps.KEY,
            "HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1",
        }  # fmt: skip
        command = [CODEX, "exec", "--skip-git-repo-check", "--json", prompt]
        done = subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-500:]
        return done.stdout


def text(model):
    assert "agent_message" in codex(model, "Hello")


def tools(model):
    answer = codex(model, '[[call exec_command {"cmd": "echo a-word-of-its-own"}]] run it')
    assert "a-word-of-its-own" in answer.split("command_execution", 1)[1]


# Other models are refused by name: Codex offers tools in namespaces.
steps.MODELS = ["gpt-5.4"]
steps.run(text=text, tools=tools)

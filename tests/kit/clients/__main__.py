"""`python -m tests.kit.clients [name…]`: install the clients, run their programs, print a table.

The exit status is 1 if a step failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.harness.installation import installation

PROGRAMS = Path(__file__).parent / "programs"
FOLDER = Path(__file__).parents[3] / ".data" / "clients"
# A model of each vendor. GPT-5.4 is called at Responses.
MODELS = "gpt-4o-mini,gpt-5.4,claude-haiku-4-5,gemini-2.5-flash"
PYTHON = {
    "openai": ("openai",),
    "anthropic": ("anthropic",),
    "langchain": ("langchain-openai",),
    "pydantic_ai": ("pydantic-ai-slim[openai]",),
    "openai_agents": ("openai-agents",),
    "instructor": ("instructor",),
    "litellm": ("litellm",),
    "llm": ("llm",),
}
NPM = {"npm": ("openai", "@anthropic-ai/sdk", "ai", "@ai-sdk/openai", "zod"), "codex": ("@openai/codex",)}


def command_of(name: str) -> list[str]:
    """Install a client if its environment is missing. Returns the command that runs its program."""
    home = FOLDER / name
    if name in NPM:
        if not (home / "node_modules").exists():
            home.mkdir(parents=True, exist_ok=True)
            subprocess.run(["npm", "install", "--silent", "--no-fund", "--ignore-scripts", *NPM[name]], cwd=home, check=True)
        if name == "codex":
            return [sys.executable, str(PROGRAMS / "with_codex.py")]
        # A module finds its packages beside itself.
        program = home / "with_npm.mjs"
        program.write_text((PROGRAMS / "with_npm.mjs").read_text())
        return ["node", str(program)]
    python = home / "bin" / "python"
    if not (home / "installed").exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "-q", "--clear", "--python", sys.executable, str(home)], check=True)
        subprocess.run([*uv, "pip", "install", "-q", "--python", str(python), *PYTHON[name]], check=True)
        (home / "installed").touch()
    return [str(python), str(PROGRAMS / f"with_{name}.py")]


def version_of(name: str) -> str:
    """Return the installed versions of a client's packages."""
    if name in NPM:
        packages = [FOLDER / name / "node_modules" / package / "package.json" for package in NPM[name]]
        return ", ".join(f"{package} {json.loads(path.read_text())['version']}" for package, path in zip(NPM[name], packages, strict=True))
    listed = [sys.executable, "-m", "uv", "pip", "list", "--format", "json", "--python", str(FOLDER / name / "bin" / "python")]
    rows = {row["name"]: row["version"] for row in json.loads(subprocess.run(listed, check=True, capture_output=True).stdout)}
    return ", ".join(f"{package} {rows[package]}" for package in (one.partition("[")[0] for one in PYTHON[name]))


def main() -> int:
    """Run the named clients, all of them without a name."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*PYTHON, *NPM, []], help="which clients; default: all")
    names = parser.parse_args().names or [*PYTHON, *NPM]
    commands = {name: command_of(name) for name in names}
    failed = 0
    with installation() as product:
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(FOLDER), "AIAGENTS_URL": product.live.url, "AIAGENTS_KEY": product.live.key,
            "AIAGENTS_MODELS": MODELS, "AIAGENTS_CODEX": str(FOLDER / "codex" / "node_modules" / ".bin" / "codex"),
        }  # fmt: skip
        for name, command in commands.items():
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
            lines = done.stdout.strip().splitlines()
            steps = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {"start": done.stderr[-2000:]}
            failed += sum(map(bool, steps.values()))
            print(f"{name} ({version_of(name)}): {sum(not error for error in steps.values())} of {len(steps)} steps passed", flush=True)
            for step, error in steps.items():
                if error:
                    print(f"  {step}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

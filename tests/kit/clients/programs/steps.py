"""What the programs share: address, key and model from the environment, and the report of their steps as one JSON line."""

import json
import os
import traceback

URL, KEY = os.environ["AIAGENTS_URL"], os.environ["AIAGENTS_KEY"]
MODELS = os.environ["AIAGENTS_MODELS"].split(",")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
ASK_TOOL = "Use the tool: the weather in Oslo"
ASK_IMAGE = "What is in the picture?"
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}


def run(**steps):
    """Run each step with each model and print what failed, as JSON: step and model, and the error's last line."""
    found = {}
    for name, step in steps.items():
        for model in MODELS:
            try:
                step(model)
                found[f"{name} {model}"] = ""
            except Exception:
                found[f"{name} {model}"] = traceback.format_exc()[-600:]
    print("\n" + json.dumps(found))

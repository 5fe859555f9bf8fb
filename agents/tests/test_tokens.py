"""Token estimates: bounds that hold, for every script and every kind of part."""

from __future__ import annotations

import time

import pytest

from agents import messages
from agents.messages import CompletionRequest, File, Image, Message, Reasoning, Text, ToolOutput, ToolSpec, ToolUse


def estimate(*parts, **more) -> int:
    return messages.estimate_input(CompletionRequest((Message("user", parts),), **more))


@pytest.mark.parametrize(
    "text", ["plain words in a row", "Größe und Übermut", "русский текст", "中文字符测试", '{"a":[1,2,{"b":null}]}', "😀😀"]
)
def test_what_is_held_for_covers_what_is_shown(text: str):
    assert messages.byte_size(text) == len(text.encode())
    assert estimate(Text(text * 50)) >= messages.estimate_text(text * 50)


def test_every_part_of_a_request_counts():
    base = estimate(Text("hello"))
    assert estimate(Text("hello"), system="s" * 100) >= base + 50
    assert estimate(Text("hello"), Image("image/png", "AAAA")) == base + messages.IMAGE_TOKENS
    assert estimate(Text("hello"), File("application/pdf", "A" * 400_000)) > base + 30_000
    assert estimate(Text("hello"), tools=(ToolSpec("weather", "the weather", {"type": "object"}),)) > base + 16
    assert estimate(Text("hello"), response_format={"type": "json_object"}) > base
    for part in (ToolUse("c", "weather", '{"city":"Oslo"}'), ToolOutput("c", "weather", "12 degrees"), Reasoning("let me see", "sig")):
        assert estimate(Text("hello"), part) > base


def test_lone_surrogates_are_counted_not_refused():
    assert messages.byte_size("\ud800") == 3


def test_the_longest_text_is_estimated_at_once():
    """An embedding's input may have ten million characters; each mark of them was once an item of a list."""
    short, long = "a, b. " * 20_000, ", " * 5_000_000
    began = time.process_time()
    estimated = messages.estimate_text(long)
    assert time.process_time() - began < 0.3
    assert abs(estimated - (2_500_000 + 1_250_000)) < 10_000
    assert abs(messages.estimate_text(short) - (30_000 + 10_000)) < 100

"""The regular expressions of the pages' own JavaScript, read from its source text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from tests.kit.source.product_modules import ROOT

_BLANK = re.compile(r"\s+|//[^\n]*|/\*.*?\*/", re.S)
_WORD = re.compile(r"[\w$]+")
_STRING = re.compile(r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"", re.S)
_REGEX = re.compile(r"/((?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+)/([a-z]*)")
_INLINE = re.compile(r"<script\b([^>]*)>(.*?)</script>", re.S)
# Words after which an expression begins; after any other word a slash divides.
_BEFORE_EXPRESSION = {
    "return",
    "typeof",
    "case",
    "in",
    "of",
    "yield",
    "await",
    "throw",
    "void",
    "delete",
    "else",
    "do",
    "instanceof",
    "new",
}


class Found(NamedTuple):
    where: str
    source: str
    flags: str


def sources() -> Iterator[tuple[str, str]]:
    """Where each script stands, and its text: files of `static` without the vendors' folder, and scripts inside templates."""
    for path in sorted((ROOT / "static").rglob("*.js")):
        if "vendor" not in path.relative_to(ROOT).parts:
            yield str(path.relative_to(ROOT)), path.read_text()
    for path in sorted((ROOT / "templates").rglob("*.html")):
        for number, (attributes, text) in enumerate(_INLINE.findall(path.read_text())):
            if "src=" not in attributes:
                yield f"{path.relative_to(ROOT)} script {number}", text


def literals(text: str) -> Iterator[tuple[str, str, int]]:
    """Pattern, flags and line of each regular expression that is written as one.

    A slash begins one where an expression may begin: not after a name, a number or a closing bracket.
    """
    at, expression = 0, True
    # Of each open `${`: the curly brackets that are open inside it.
    templates: list[int] = []
    while at < len(text):
        if blank := _BLANK.match(text, at):
            at = blank.end()
        elif text[at] == "`" or (text[at] == "}" and templates and not templates[-1]):
            if text[at] == "}":
                templates.pop()
            at, inside = _template_end(text, at + 1)
            templates += [0] if inside else []
            expression = inside
        elif text[at] in "'\"" and (string := _STRING.match(text, at)):
            at, expression = string.end(), False
        elif word := _WORD.match(text, at):
            at, expression = word.end(), word[0] in _BEFORE_EXPRESSION
        elif text[at] == "/" and expression and (regex := _REGEX.match(text, at)):
            yield regex[1], regex[2], text.count("\n", 0, at) + 1
            at, expression = regex.end(), False
        else:
            if templates and text[at] in "{}":
                templates[-1] += 1 if text[at] == "{" else -1
            expression = text[at] not in ")]}"
            at += 1


def _template_end(text: str, at: int) -> tuple[int, bool]:
    """Behind the backtick that ends a template, or behind the `${` that opens an expression in it; which of the two it was."""
    while text[at] != "`":
        if text.startswith("${", at):
            return at + 2, True
        at += 2 if text[at] == "\\" else 1
    return at + 1, False


def patterns() -> tuple[list[Found], list[str]]:
    """Every regular expression of the scripts, and the calls of `RegExp` whose text is only known while the page runs."""
    found: list[Found] = []
    unknown: list[str] = []
    for where, text in sources():
        found += [Found(f"{where}:{line}", source, flags) for source, flags, line in literals(text)]
        for call in re.finditer(r"\bRegExp\s*\(([^\n]{0,80})", text):
            unknown.append(f"{where}: {call[1]}")
    return found, unknown


def as_python(found: Found) -> re.Pattern:
    """The same pattern for Python, near enough to make texts from: classes of Unicode become ASCII."""
    source = found.source.replace("(?<", "(?P<").replace("(?P<=", "(?<=").replace("(?P<!", "(?<!")
    source = re.sub(r"\\[pP]\{L\w*\}", "a-zA-Z", re.sub(r"\\[pP]\{N\w*\}", "0-9", source))
    flags = sum(getattr(re, name.upper()) for name in found.flags if name in "ims")
    return re.compile(source, flags)

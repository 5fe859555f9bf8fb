"""The documents name nothing that does not exist, stay in plain English, and keep the glossary and the index of ADRs true."""

from __future__ import annotations

import ast
import importlib
import io
import re
import tokenize
from functools import cache
from pathlib import Path

import pytest
from django.apps import apps

from aiagents.core.http.websocket import PROTOCOL
from tests.kit.source.product_modules import sources
from tests.kit.source.tree import parse, text_files

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "GLOSSARY", "CHANGELOG"))])
ADRS = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
PACKAGES = ("aiagents", "accounts", "billing", "agents", "chat", "tasks")
FILE = re.compile(r"(?<![\w/<>.-])((?:[\w.<>*-]+/)*[\w.<>*-]+\.(?:py|md|js|html|txt|conf|yml|json|toml|ini|css))\b")
MODULE = re.compile(rf"(?<![\w./])(?:{'|'.join(PACKAGES)})(?:\.\w+)+(?![\w*])")
# Names of files that are not part of the repository, or that a reader makes.
ELSEWHERE = {"children.json", "NAME.py", "utils.py"}
MOST_WORDS = 40

# Words of the former private dialect. Each had a plain word: endpoint, layer, section, sends, wrote, client, user.
DIALECT = re.compile(
    r"\b(anybody|cellar|dearest|doors?|everybody|floors?|ground|heard|hears|house|mended|nobody|roof|rooms?|said"
    r"|somebody|spoken|tally|told|unspoken|whoever|wording)\b",
    re.I,
)
# A setting, a button or a label is quoted as it is.
QUOTED = re.compile(r"`[^`]*`|\"[^\"\n]*\"|“[^”]*”|\]\([^)]*\)|https?://\S+")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)


def prose(text: str) -> str:
    """The text without code and link targets."""
    return QUOTED.sub(" ", FENCE.sub("", text))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def file_names() -> frozenset[str]:
    return frozenset(path.name for path in text_files(""))


def exists(document: Path, named: str) -> bool:
    """A path from the root or beside the document, a pattern, or a bare file name that some folder has."""
    named = named.replace("<vendor>", "anthropic").replace("<app>", "chat")
    if "*" in named:
        return any(ROOT.glob(named))
    if "/" not in named and named in file_names():
        return True
    return named in ELSEWHERE or Path(named).name in ELSEWHERE or (ROOT / named).exists() or (document.parent / named).exists()


def is_module_or_member(dotted: str) -> bool:
    """An importable module, something in one, or a permission as `app.codename`."""
    parts = dotted.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        if all((found := getattr(found, part, None)) is not None for part in parts[size:]):
            return True
        break
    app, codename = parts[0], parts[-1]
    return len(parts) == 2 and any(
        codename in {name for name, _ in model._meta.permissions} for model in apps.get_app_config(app).get_models()
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_path_that_is_named_exists(document: Path):
    text = FENCE.sub("", document.read_text())
    for braces in re.findall(r"[\w./-]*\{[\w,]+\}[\w./-]*\.\w+", text):
        head, inner, tail = re.match(r"(.*)\{(.*)\}(.*)", braces).groups()
        assert all(exists(document, f"{head}{one}{tail}") for one in inner.split(",")), braces
        text = text.replace(braces, "")
    missing = {named for named in FILE.findall(re.sub(r"https?://\S+", "", text)) if named != "django.conf" and not exists(document, named)}
    assert not missing
    folders = set(re.findall(r"`((?:[\w-]+/)+)`", text))
    # `api/` alone is the folder that every app has.
    assert not {
        folder for folder in folders if not (ROOT / folder).is_dir() and not (ROOT / "chat" / folder).is_dir() and folder != "admin/"
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_module_that_is_named_exists(document: Path):
    named = {dotted for dotted in MODULE.findall(document.read_text()) if not dotted.endswith((".py", ".md", ".json"))}
    assert not {dotted for dotted in named if not is_module_or_member(dotted) and dotted != PROTOCOL}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(document: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", document.read_text())):
        if target.startswith(("http:", "https:")):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path) if path else document
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def anchors(document: Path) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_map_of_the_tree_has_every_package():
    block = re.search(r"^## Where do I put this\?.*?^```\n(.*?)^```", (ROOT / "docs/architecture.md").read_text(), re.M | re.S)[1]
    mapped, path = set(), []
    for indent, folder in re.findall(r"^( *)(\w+)/ ", block, re.M):
        path = [*path[: len(indent) // 2], folder]
        mapped.add("/".join(path))
    left_out = {"tests", "migrations", "management", "commands", "templatetags", "formats", "en"}
    real = {
        name_of(init.parent)
        for package in PACKAGES
        for init in (ROOT / package).rglob("__init__.py")
        if not left_out & set(init.parts) and len(list(init.parent.glob("*.py"))) > 1
    }
    assert mapped == real


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_prose_is_plain_english(document: Path):
    assert not DIALECT.findall(prose(document.read_text()))


def test_the_example_environment_is_plain_english():
    comments = "\n".join(re.findall(r"^# (?![A-Z_]+=)(.*)$", (ROOT / ".env.example").read_text(), re.M))
    assert not DIALECT.findall(prose(comments))


def explanations(path: Path) -> str:
    """The docstrings and comments of a module."""
    text = path.read_text()
    comments = [token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT]
    nodes = (node for node in ast.walk(parse(text)) if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef))
    return "\n".join([*comments, *(ast.get_docstring(node) or "" for node in nodes)])


# `floor` is a function of the calculator.
@pytest.mark.parametrize("package", PACKAGES)
def test_docstrings_and_comments_are_plain_english(package: str):
    found = {name_of(path): DIALECT.findall(prose(explanations(path))) for path in sources() if name_of(path).startswith(f"{package}/")}
    assert {name: words for name, words in found.items() if words and name != "agents/tools/builtin/calculator.py"} == {}


def test_a_dialect_word_is_noticed_and_a_quoted_one_is_not():
    assert DIALECT.search(prose("Every call passes one Door.")) and not DIALECT.search(prose("See `door.py`."))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_lines_of_prose_are_at_most_120_characters(document: Path):
    lines = FENCE.sub("", document.read_text()).splitlines()
    assert not [line for line in lines if len(line) > 120 and not line.startswith("|")]


def sentences(text: str) -> list[str]:
    """Prose only: no headings, tables, indented code or link targets. A piece of code counts as one word."""
    lines = [line for line in FENCE.sub("", text).splitlines() if not line.startswith(("|", "#", "    "))]
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", "\n".join(lines))
    flat = [re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "X", " ".join(paragraph.split()))) for paragraph in paragraphs]
    return [sentence for paragraph in flat for sentence in re.split(r"(?<=[.!?:;])\s+", paragraph)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_sentences_are_short(document: Path):
    """The style asks for fewer than 25 words; a figure or a name in parentheses may take some more."""
    long = [sentence for sentence in sentences(document.read_text()) if len(re.findall(r"[A-Za-z][\w'’-]*", sentence)) > 28]
    assert not long


def test_the_glossary_defines_few_words_and_each_once():
    words = re.findall(r"^\| ([^|]+) \|", (ROOT / "GLOSSARY.md").read_text(), re.M)[1:]
    assert 20 <= len(words) <= MOST_WORDS, len(words)
    assert len(set(words)) == len(words)


def test_the_index_lists_every_decision_once_with_its_title():
    rows = re.findall(r"^\| \[(\d{4})\]\(([^)]+)\) \| (.*?) \| (.*?) \| (.*?) \|$", (ROOT / "docs/adr/README.md").read_text(), re.M)
    titles = {path.name: re.match(r"# (\d{4}): (.+)", path.read_text()) for path in ADRS}
    assert all(titles.values()), [name for name, title in titles.items() if not title]
    assert [(title[1], name, title[2]) for name, title in titles.items()] == [row[:3] for row in rows]
    assert all(name.startswith(f"{title[1]}-") for name, title in titles.items())
    assert len({number for number, *_ in rows}) == len(rows)
    assert all(re.match(r"accepted|superseded by \d{4}", status) and line for *_, line, status in rows)

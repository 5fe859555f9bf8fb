"""How static/ is laid out: layers, no import circle, one fetch, one reader of streams, libraries as they were vendored."""

from __future__ import annotations

import hashlib
import re

import pytest

from tests.kit.source.page_modules import OWN, STATIC, imports

LAYERS: dict[str, set[str]] = {
    "shared": set(),
    "chat": {"shared"},
    "agents": {"shared"},
    "tasks": {"shared"},
    "usage": {"shared"},
    "account": {"shared"},
    "password": {"shared"},
    "shell": {"shared", "chat", "agents", "tasks", "usage", "account"},
    "admin-dashboard": set(),
}


def test_every_folder_is_a_layer() -> None:
    assert {name.split("/")[0] for name in OWN} == set(LAYERS)


@pytest.mark.parametrize("name", OWN)
def test_a_module_imports_from_its_own_folder_the_layers_below_and_the_libraries(name: str) -> None:
    allowed = {name.split("/")[0], "vendor"} | LAYERS[name.split("/")[0]]
    for target in imports(name, OWN[name]):
        assert (STATIC / target).is_file(), f"{name} imports {target}, which is not there"
        assert target.split("/")[0] in allowed, f"{name} imports {target}"


def test_no_module_imports_itself_through_others() -> None:
    """A circle would have no hash: the name of each module in it depends on the names of all the others."""
    done: set[str] = set()

    def follow(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " → ".join((*way[way.index(name) :], name))
        if name in done or name not in OWN:
            return
        for target in imports(name, OWN[name]):
            follow(target, (*way, name))
        done.add(name)

    for name in OWN:
        follow(name, ())


@pytest.mark.parametrize(
    "pattern, places",
    [
        (r"(?<![\w.])fetch\(", {"shared/http.js"}),
        (r"\.getReader\(|new EventSource\(", {"shared/sse.js"}),
        (r"new WebSocket\(", {"chat/socket.js", "admin-dashboard/live.js"}),
        (r"\.(?:inner|outer)HTML\b|insertAdjacentHTML|document\.write", set()),
        (r"unfold/", set()),
    ],
)
def test_what_has_one_place_is_nowhere_else(pattern: str, places: set[str]) -> None:
    assert {name for name, text in OWN.items() if re.search(pattern, text)} == places


def test_the_types_of_every_module_are_checked() -> None:
    assert [name for name, text in OWN.items() if not text.startswith("// @ts-check\n// ")] == []


def test_no_comment_holds_an_import() -> None:
    """`collectstatic` looks for imports with regular expressions, in comments, too."""
    found = [name for name, text in OWN.items() if re.search(r"^\s*(?://|\*|/\*).*\bimport\s*[({]", text, re.M)]
    assert found == []


def test_libraries_are_the_files_that_the_table_names() -> None:
    readme = (STATIC / "vendor" / "README.md").read_text()
    sums = dict(reversed(line.split()) for line in re.findall(r"^[0-9a-f]{64}  \S+$", readme, re.M))
    files = {path.relative_to(STATIC / "vendor").as_posix(): path for path in (STATIC / "vendor").rglob("*.js")}
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()} == sums
    for name, path in files.items():
        assert f"| `{name}` |" in readme and (path.parent / "LICENSE").is_file()
        assert "sourceMappingURL" not in path.read_text()[-200:]

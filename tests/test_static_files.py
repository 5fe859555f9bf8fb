"""Static files of a running server: hashed names everywhere, kept for ever by browsers, current with the sources."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from aiagents.server import static_files
from tests.kit.servers.live import Live
from tests.kit.source.page_modules import OWN, imports

HASHED = re.compile(r"/static/.+\.[0-9a-f]{12}\.(?:js|css|svg)")
_NAMED = re.compile(r'(?:src|href)="(/static/[^"]+)"')


def test_every_file_that_a_page_can_reach_has_its_hash_in_its_name(live: Live) -> None:
    """From each page over all imports, those of later included."""
    waiting = {url for page in ("/", "/agents", "/password", "/nowhere") for url in _NAMED.findall(text(live, page))}
    seen: set[str] = set()
    while waiting:
        url = waiting.pop()
        seen.add(url)
        answer = live.call("GET", url, key="")
        assert answer.status == 200 and HASHED.fullmatch(url), url
        assert answer.headers["cache-control"] == "max-age=315360000, public, immutable", url
        if url.endswith(".js") and "/vendor/" not in url:
            waiting |= set(imports(url, answer.body.decode())) - seen
    modules = {re.sub(r"\.[0-9a-f]{12}(?=\.js$)", "", url.removeprefix("/static/")) for url in seen if url.endswith(".js")}
    assert {name for name in OWN if not name.startswith("admin-dashboard/")} <= modules


def text(live: Live, path: str) -> str:
    return live.call("GET", path, key="", headers={"Accept": "text/html"}).body.decode()


def test_the_page_is_asked_for_anew_and_files_come_compressed(live: Live) -> None:
    page = live.call("GET", "/", key="")
    assert page.headers["cache-control"] == "no-cache"
    main = re.search(r'module" src="([^"]+)"', page.body.decode())[1]
    assert live.call("GET", main, key="", headers={"Accept-Encoding": "gzip"}).headers["content-encoding"] == "gzip"
    # Those of another version, and names without a hash, are kept for a minute at most.
    assert live.call("GET", re.sub(r"\.[0-9a-f]{12}", "", main), key="").headers["cache-control"] == "max-age=60, public"
    assert live.call("GET", re.sub(r"\.[0-9a-f]{12}", ".0123456789ab", main), key="").status == 404


@pytest.fixture
def sources(settings: Any, tmp_path: Path) -> Path:
    """Two modules that are collected by the product's own storage; the other packages' files are left out."""
    settings.BASE_DIR = tmp_path
    folder = tmp_path / "static" / "shared"
    folder.mkdir(parents=True)
    (folder / "main.js").write_text('import { one } from "./one.js";\nimport("./one.js");\n')
    (folder / "one.js").write_text("export const one = 1;\n")
    settings.STATICFILES_DIRS, settings.STATIC_ROOT = [tmp_path / "static"], tmp_path / "root"
    settings.STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
    settings.STORAGES = {**settings.STORAGES, "staticfiles": {"BACKEND": "aiagents.server.static_files.Storage"}}
    return folder


def mains(settings: Any) -> dict[str, str]:
    return {path.name: path.read_text() for path in (settings.STATIC_ROOT / "shared").glob("main.*.js")}


def test_what_changed_is_collected_once_and_the_old_files_stay(settings: Any, sources: Path) -> None:
    assert static_files.collect() and not static_files.collect()
    old = mains(settings)
    assert len(old) == 1 and len(re.findall(r"\./one\.[0-9a-f]{12}\.js", *old.values())) == 2
    (sources / "one.js").write_text("export const one = 2;\n")
    assert static_files.collect() and not static_files.collect()
    new = mains(settings)
    # A change below gives the module that imports it another name, too; who has the old page finds the old one.
    assert len(new) == 2 and old.items() < new.items()


def note_process(*_: Any, **__: Any) -> None:
    (Path(str(django_settings.STATIC_ROOT)) / "process").write_text(str(os.getpid()))


def test_the_memory_of_collecting_is_not_the_servers(settings: Any, sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_files, "call_command", note_process)
    assert static_files.collect()
    assert int((Path(settings.STATIC_ROOT) / "process").read_text()) != os.getpid()


def test_in_debug_mode_nothing_is_collected(settings: Any, sources: Path) -> None:
    settings.DEBUG = True
    assert not static_files.collect() and not settings.STATIC_ROOT.exists()


def test_a_folder_that_cannot_be_written_is_named(settings: Any, sources: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings.STATIC_ROOT = tmp_path / "file" / "root"
    with pytest.raises(ImproperlyConfigured, match="STATIC_ROOT"):
        static_files.collect()

"""Static files under names that hold a hash of their content, so that a page never mixes modules of two versions (ADR 0092)."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from whitenoise.storage import CompressedManifestStaticFilesStorage

# Beside the collected files: which sources they were made of.
_SOURCES, _LOCK = "sources.digest", "collect.lock"
_LIBRARIES = ("vendor", "css")


class Storage(CompressedManifestStaticFilesStorage):
    """WhiteNoise's storage; in the product's own JavaScript modules it writes the hashed names into the imports.

    Files of an earlier version stay, so that a page which was opened before a deployment still finds its modules.
    """

    support_js_module_import_aggregation = True
    # Each pass carries a changed name one import further up. Ends as soon as nothing changes.
    max_post_process_passes = 30

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Django applies the patterns to every script. Other packages' bundles import nothing, and take seconds to search.
        modules = self._patterns.pop("*.js")
        self._patterns |= {f"{folder.name}/*.js": modules for folder in _own_folders()}

    def save_manifest(self) -> None:
        super().save_manifest()
        Path(self.path(_SOURCES)).write_text(_digest())


def collect() -> bool:
    """Bring STATIC_ROOT up to date with the sources; whether anything was to be done.

    Nothing is done in debug mode, in which files are served from where they are. Raises `ImproperlyConfigured` where STATIC_ROOT
    is out of date and cannot be written, as in a container whose image was built without `collectstatic`.
    """
    root = Path(str(settings.STATIC_ROOT))
    if settings.DEBUG or _is_current(root):
        return False
    try:
        with _locked(root):
            if _is_current(root):
                return False
            # In a child: the server would keep the 60 MB that it takes.
            with ProcessPoolExecutor(1, mp_context=get_context("fork")) as child:
                child.submit(call_command, "collectstatic", interactive=False, verbosity=0).result()
    except OSError as exc:
        raise ImproperlyConfigured(f"The static files cannot be collected into STATIC_ROOT ({root}): {exc.strerror or exc}.") from exc
    return True


def _own_folders() -> list[Path]:
    return [path for path in (settings.BASE_DIR / "static").iterdir() if path.is_dir() and path.name not in _LIBRARIES]


def _is_current(root: Path) -> bool:
    try:
        return (root / _SOURCES).read_text() == _digest()
    except OSError:
        return False


def _digest() -> str:
    """Of the names and contents of all static files that the installed apps bring, and of the code that collects them."""
    found = hashlib.blake2b(Path(__file__).read_bytes(), digest_size=16)
    for finder in get_finders():
        for path, storage in finder.list([]):
            content = Path(storage.path(path)).read_bytes()
            found.update(f"{path}\0{len(content)}\0".encode())
            found.update(content)
    return found.hexdigest()


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """One process collects at a time."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

"""The pages' own JavaScript modules, and what each imports."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

STATIC = Path(__file__).resolve().parents[3] / "static"
_IMPORT = re.compile(r"""^(?:import\s*|(?:import|export)\b[^"';=(]*?\bfrom\s*)["']([^"']+)["'];|\bimport\(["']([^"']+)["']\)""", re.M)
# Path below static/ -> text; without the libraries.
OWN = {
    path.relative_to(STATIC).as_posix(): path.read_text()
    for path in sorted(STATIC.rglob("*.js"))
    if path.relative_to(STATIC).parts[0] != "vendor"
}


def imports(name: str, text: str) -> list[str]:
    """The paths of what a module imports, at once or later; `name` is its own path or URL."""
    return [posixpath.normpath(posixpath.join(posixpath.dirname(name), one[1] or one[2])) for one in _IMPORT.finditer(text)]

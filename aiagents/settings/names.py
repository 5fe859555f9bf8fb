"""Names in the environment that look like a setting of the product but are not one: old names and typos."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from dotenv import dotenv_values

# Old name -> current name. The old one still works; if both are set, the current one counts.
RENAMED = {
    "ACCESS_TOKEN_MINUTES": "ACCESS_TOKEN_EXPIRE_MINUTES",
    "DEFAULT_USER_MONTHLY_LIMIT": "NEW_USER_MONTHLY_LIMIT",
}
# Read by docker-compose.yml, by Django, or by a part of the product that runs without the settings.
OTHERS = frozenset(
    {
        "AIAGENTS_TAG",
        "DJANGO_SETTINGS_MODULE",
        "POSTGRES_PASSWORD",
        "PROMETHEUS_MULTIPROC_DIR",
        "SIMULATOR_PACE_MS",
        "SIMULATOR_STRICT",
        "SIMULATOR_TOKEN",
        "TASK_WORKER_REPLICAS",
        "VALKEY_PASSWORD",
        "WEB_REPLICAS",
    }
)
# Prefixes of names that other programs read, even if they resemble one of ours.
_ORDINARY = ("COMPOSE_", "DOCKER_", "POSTGRES_", "VALKEY_", "PG", "XDG_", "LC_", "SSH_", "KUBERNETES_")
# Prefixes that people often put before a setting of a Django product.
_PREFIXES = ("AIAGENTS_", "DJANGO_")
# Similarity by difflib, 0 to 1. Many programs share the process environment, but .env is the product's, so its cutoff is lower.
_PROCESS_CUTOFF, _FILE_CUTOFF = 0.86, 0.75
# Shorter names are too often similar by chance, such as HOST and GHOST.
_SHORTEST = 6


@dataclass(frozen=True, slots=True)
class Misnomer:
    """A name that is set; `instead` is the current name of an old one, or the setting probably meant (empty: none is similar)."""

    name: str
    instead: str
    old: bool

    def __str__(self) -> str:
        if self.old:
            return f"{self.name} is the old name of {self.instead}. It still works; rename it."
        meant = f" Did you mean {self.instead}?" if self.instead else ""
        return f"{self.name} is not a setting of aiagents and has no effect.{meant} See .env.example for all settings."


def given(env_file: Path) -> dict[str, str]:
    """Every name that is set, in capitals, with its value; the process environment overrides the file."""
    return {name.upper(): value for name, value in [*_of_file(env_file).items(), *os.environ.items()]}


def misnomers(fields: Collection[str], env_file: Path, environ: Mapping[str, str] | None = None) -> list[Misnomer]:
    """The names that look like a setting but are not one, in alphabetical order. `fields`: the settings' names in capitals."""
    file = {name.upper() for name, value in _of_file(env_file).items() if value}
    process = {name.upper() for name, value in (os.environ if environ is None else environ).items() if value}
    found = [*_misnamed(file, fields, in_file=True), *_misnamed(process - file, fields, in_file=False)]
    return sorted(found, key=lambda one: one.name)


def _misnamed(names: Collection[str], fields: Collection[str], *, in_file: bool) -> Iterator[Misnomer]:
    families = {name.partition("_")[0] for name in fields if "_" in name}
    for name in names:
        if name in RENAMED:
            yield Misnomer(name, RENAMED[name], old=True)
        elif name in fields or name in OTHERS or name.startswith(_ORDINARY):
            continue
        elif (meant := _near(name, fields, in_file)) or (in_file and name.partition("_")[0] in families):
            yield Misnomer(name, meant, old=False)


def _near(name: str, fields: Collection[str], in_file: bool) -> str:
    bare = next((name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)), name)
    bare = RENAMED.get(bare, bare)
    if bare in fields:
        return bare
    if len(name) < _SHORTEST and not in_file:
        return ""
    near = get_close_matches(bare, sorted({*fields, *RENAMED}), 1, _FILE_CUTOFF if in_file else _PROCESS_CUTOFF)
    return RENAMED.get(near[0], near[0]) if near else ""


def _of_file(env_file: Path) -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(env_file).items()} if env_file.is_file() else {}

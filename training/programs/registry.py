"""The installed programs by name: built in, from entry points, and from the operator's folder."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from training.programs import toml_manifest
from training.programs.manifest import ManifestError, Program

# Imported by name: a static import would tie everything above to one program's code.
_BUILT_IN = {"localizer": "training.localization.program:PROGRAM"}
DEFAULT_PROGRAM = "localizer"
ENTRY_POINTS = "heimdall.programs"


class UnknownProgramError(LookupError):
    """No program of this name is installed."""


def get_program(name: str = DEFAULT_PROGRAM) -> Program:
    """The installed program; raises UnknownProgramError, or ManifestError if it is broken."""
    if name in _BUILT_IN:
        return _built_in(name)
    if found := _find(name):
        return _load(found)
    known = ", ".join([*_BUILT_IN, *_installed()])
    raise UnknownProgramError(f"Unknown program {name!r}; installed: {known}.")


def describe_program(name: str) -> Program:
    """The program for display: one that is not installed any more has no declarations."""
    try:
        return get_program(name)
    except (UnknownProgramError, ManifestError):
        return _undeclared(name)


def list_programs() -> list[Program]:
    """Every program that can be used, the default first; broken ones are left out."""
    return [get_program(name) for name in _BUILT_IN] + [
        program for _, program in load_installed() if isinstance(program, Program)
    ]


def load_installed() -> Iterator[tuple[str, Program | ManifestError]]:
    """Each installed program except the built-in ones, or the reason why it cannot be used."""
    for name, source in _installed().items():
        try:
            yield name, _load(source)
        except ManifestError as error:
            yield name, error


@cache
def _built_in(name: str) -> Program:
    module, _, attribute = _BUILT_IN[name].partition(":")
    program = getattr(import_module(module), attribute)
    assert isinstance(program, Program)
    return program


def _installed() -> Mapping[str, Path | str]:
    """Folders with a manifest, and entry points, by name; folders take precedence."""
    folders = {
        path.parent.name: path.parent
        for root in _roots()
        for path in sorted(root.glob(f"*/{toml_manifest.FILE}"))
        if path.parent.name not in _BUILT_IN
    }
    return {**_entry_points(), **folders}


def _find(name: str) -> Path | str | None:
    """Does not list the folders, because pages look up the program of each job."""
    if not toml_manifest.PROGRAM_NAME.fullmatch(name):
        return _installed().get(name)
    folders = (root / name for root in _roots())
    found = next((folder for folder in folders if (folder / toml_manifest.FILE).is_file()), None)
    return found or _entry_points().get(name)


def _roots() -> list[Path]:
    from django.conf import settings

    return [settings.PROGRAMS_DIR] if settings.PROGRAMS_DIR else []


@cache
def _entry_points() -> dict[str, str]:
    return {
        point.name: point.value
        for point in entry_points(group=ENTRY_POINTS)
        if point.name not in _BUILT_IN
    }


_loaded: dict[Path, tuple[int, Program]] = {}
_lock = threading.Lock()


def _load(source: Path | str) -> Program:
    if isinstance(source, str):
        return _load_entry_point(source)
    changed_at = (source / toml_manifest.FILE).stat().st_mtime_ns
    with _lock:
        known = _loaded.get(source)
        if known is None or known[0] != changed_at:
            known = _loaded[source] = changed_at, toml_manifest.load_program(source)
    return known[1]


@cache
def _load_entry_point(value: str) -> Program:
    """An entry point names a Program, or a package with a program.toml."""
    module_name, _, attribute = value.partition(":")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise ManifestError(f"Entry point {value!r}: {error}.") from error
    if not attribute:
        return toml_manifest.load_program(Path(str(module.__file__)).parent)
    program = getattr(module, attribute, None)
    if not isinstance(program, Program):
        raise ManifestError(f"Entry point {value!r} is not a Program.")
    return program


class _AnyParameters(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


@cache
def _undeclared(name: str) -> Program:
    return Program(name=name, title=name, command=(), parameters=_AnyParameters)

"""The installed programs by name."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from training.programs.manifest import Program

# Imported by name: a static import would tie everything above to one program's code.
_BUILT_IN = {"localizer": "training.localization.program:PROGRAM"}
DEFAULT_PROGRAM = "localizer"


class UnknownProgramError(LookupError):
    """No program of this name is installed."""


@cache
def get_program(name: str = DEFAULT_PROGRAM) -> Program:
    try:
        module, _, attribute = _BUILT_IN[name].partition(":")
    except KeyError:
        known = ", ".join(_BUILT_IN)
        raise UnknownProgramError(f"There is no program {name!r}; installed: {known}.") from None
    program = getattr(import_module(module), attribute)
    assert isinstance(program, Program)
    return program

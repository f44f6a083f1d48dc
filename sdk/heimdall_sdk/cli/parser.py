"""A parser of arguments whose options can be listed, for tab completion."""

from __future__ import annotations

import argparse
from typing import Any


class Parser(argparse.ArgumentParser):
    def __init__(self, **options: Any) -> None:
        self.actions: list[argparse.Action] = []
        self.commands: dict[str, Parser] = {}
        super().__init__(**options, allow_abbrev=False)

    def add_argument(self, *names: Any, **options: Any) -> argparse.Action:
        action = super().add_argument(*names, **options)
        self.actions.append(action)
        return action

    @property
    def positional(self) -> list[argparse.Action]:
        return [action for action in self.actions if not action.option_strings]

    def option_with_value(self, name: str) -> argparse.Action | None:
        for action in self.actions:
            if name in action.option_strings and action.nargs != 0:
                return action
        return None

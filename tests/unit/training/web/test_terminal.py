"""Terminal output as plain lines."""

from __future__ import annotations

from training.web.terminal import from_traceback, plain_lines


def test_colors_titles_and_links_are_removed() -> None:
    assert plain_lines("\x1b[1;31mred\x1b[0m \x1b]0;title\x07x\x1b]8;;http://a\x1b\\link\n") == [
        "red xlink"
    ]


def test_progress_bar_shows_its_last_state() -> None:
    assert plain_lines("a\r 10%\r100%\r\nnext\n") == ["100%", "next"]
    assert plain_lines("\r 10%\r\x1b[K") == [" 10%"]


def test_control_characters_are_removed_and_tabs_are_kept() -> None:
    assert plain_lines("a\x00b\x08c\td") == ["abc\td"]


def test_empty_lines_are_kept_and_empty_output_has_no_lines() -> None:
    assert plain_lines("a\n\nb\n") == ["a", "", "b"]
    assert plain_lines("") == []


def test_log_excerpt_begins_at_the_last_traceback() -> None:
    lines = ["one", "Traceback (most recent call last):", "x", "two",
             "Traceback (most recent call last):", "  y", "ValueError: z"]  # fmt: skip
    assert from_traceback(lines, 10) == lines[4:]
    assert from_traceback(lines, 2) == lines[5:]
    assert from_traceback(["one", "two"], 1) == ["two"]

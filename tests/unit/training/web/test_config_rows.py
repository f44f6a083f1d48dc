from __future__ import annotations

import pytest

from training.models import Job
from training.web import config_rows as module
from training.web.config_rows import config_rows, count_hidden


def test_configuration_shows_what_changed_since_the_parent() -> None:
    parent = Job(config={"epochs": 10, "hidden": 64, "dropout": 0.1, "retired": 1})
    job = Job(parent=parent, config={"epochs": 20, "hidden": 64, "retired": 1})
    rows = config_rows(job, parent)
    changed = {row.title: (row.before, row.value) for row in rows if row.changed}
    assert changed == {"Epochs": ("10", "20")}
    assert [row.title for row in rows] == ["Epochs", "Width", "retired"]
    assert not any(row.changed for row in config_rows(job))


def test_configuration_of_a_job_without_parent_shows_no_changes() -> None:
    rows = config_rows(Job(config={"epochs": 20, "hidden": 64}))
    assert [row.value for row in rows] == ["20", "64"]
    assert not any(row.changed for row in rows)


def test_configuration_of_a_reported_run_is_shown_as_it_was_sent() -> None:
    config = {"lr": 1e-05, "model": {"name": "résumé", "layers": [1, 2]}, "receivers": None}
    rows = config_rows(Job(program="reported elsewhere", config=config))
    assert [(row.title, row.value) for row in rows] == [
        ("lr", "1e-05"), ("model", '{"name": "résumé", "layers": [1, 2]}'), ("receivers", "–")
    ]  # fmt: skip


def test_long_configuration_is_cut_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 2)
    job = Job(program="reported elsewhere", config={"a": "x" * 400, "b": 1, "c": 2, "d": 3})
    first, second = config_rows(job)
    assert first.value == "x" * 300 + "…"
    assert second.title == "b"
    assert count_hidden(job) == 2

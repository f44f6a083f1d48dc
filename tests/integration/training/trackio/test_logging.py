"""Runs of Trackio clients are reported jobs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from tests.integration.training.trackio.conftest import TrackioClient, entry
from tests.jobs import reload
from training.jobs import reports, status
from training.jobs.chart_series import metrics_json
from training.models import Job, JobEvent, Project, TrackioRun
from training.models.states import Status, Stop
from training.trackio import recording, runs


def loss(job: Job) -> list[tuple[Any, Any]]:
    found = metrics_json(reload(job), ["loss"], 100)
    return list(zip(found["step"], found["series"]["loss"], strict=True))


def notes(job: Job) -> list[str]:
    rows = JobEvent.objects.filter(job=job, data__cause="note")
    return [row.data["reason"] for row in rows]


def silence(job: Job, seconds: int) -> None:
    Job.objects.filter(pk=job.pk).update(heartbeat_at=Now() - timedelta(seconds=seconds))
    reports.end_silent("maintenance")


def test_entry_is_applied_once(trackio: TrackioClient) -> None:
    """Also one that the client kept, and sends after newer values of the same step."""
    trackio.log({"step": 1, "metrics": {"loss": 0.5}, "log_id": "1" * 32})
    trackio.log({"step": 1, "metrics": {"loss": 0.25}, "log_id": "2" * 32})
    kept = {"step": 1, "metrics": {"loss": 0.5}, "log_id": "1" * 32,
            "timestamp": "2026-01-01T00:00:00+00:00"}  # fmt: skip
    trackio.log(kept, {"step": 2, "metrics": {"loss": 0.125}, "log_id": "not a UUID"})
    trackio.log(kept, {"step": 2, "metrics": {"loss": 9.0}, "log_id": "not a UUID"})
    assert loss(Job.objects.get()) == [(1, 0.25), (2, 0.125)]


def test_buffered_entry_has_the_time_at_which_it_was_logged(trackio: TrackioClient) -> None:
    trackio.log({"metrics": {"loss": 0.5}, "timestamp": "2026-01-01T00:00:00+00:00"},
                {"metrics": {"loss": 0.4}, "step": 1, "timestamp": "2026-01-01T00:00:07+00:00"},
                {"metrics": {"loss": 0.4}, "step": 2, "timestamp": "long ago"})  # fmt: skip
    found = metrics_json(Job.objects.get(), ["loss"], 100)
    seconds = found["seconds"]
    assert seconds[1] is not None and seconds[0] is not None and seconds[1] - seconds[0] == 7


def test_entries_without_steps_follow_each_other(trackio: TrackioClient) -> None:
    trackio.log(*({"step": None, "metrics": {"loss": value}} for value in (3, 2)))
    trackio.log({"step": None, "metrics": {"loss": 1}})
    assert loss(Job.objects.get()) == [(0, 3), (1, 2), (2, 1)]


def test_runs_of_one_request_are_separate_jobs(trackio: TrackioClient) -> None:
    trackio.log({"metrics": {"loss": 1}}, {"run_id": "b" * 32, "metrics": {"loss": 2}},
                {"run": "second", "run_id": None, "metrics": {"loss": 3}})  # fmt: skip
    trackio.log({"run": "second", "run_id": None, "metrics": {"loss": 4}, "step": 1})
    names = sorted(Job.objects.values_list("name", flat=True))
    assert names == ["first", "first", "second"]
    assert loss(Job.objects.get(name="second")) == [(0, 3), (1, 4)]
    assert Project.objects.get().name == "radio"


def test_unstorable_data_does_not_affect_the_rest(trackio: TrackioClient) -> None:
    """The client would repeat a refused request forever."""
    metrics = {"loss": 0.5, "ok": True, "text": "a", "table": {"_type": "trackio.table"},
               "bad\tname": 1, "list": [1]}  # fmt: skip
    trackio.log({"metrics": metrics}, {"step": -1, "metrics": {"loss": 1}})
    trackio.log({"metrics": metrics})
    job = Job.objects.get()
    assert loss(job) == [(0, 0.5)]
    assert job.summary == {"loss": 0.5, "ok": 1.0}
    assert notes(job) == [
        "Not stored: 'text' is not a number.",
        "Not stored: 'table' is not a number.",
        "Not stored: The name 'bad\\tname' contains a control character; use printable ones.",
        "Not stored: 'list' is not a number.",
        "Not stored: step is -1, not a whole number from 0 to 9007199254740991.",
    ]


def test_integers_and_nesting_that_no_database_stores_are_accepted(trackio: TrackioClient) -> None:
    """`torch.seed()` has 64 bits without a sign."""
    deep: Any = 1
    for _ in range(300):
        deep = {"a": deep}
    trackio.log({"metrics": {"loss": 1, "seed": 2**64 - 1, "deep": deep}, "step": 1,
                 "config": {"seed": 2**63, "deep": deep}},
                {"metrics": {"loss": 2}, "step": 2**64 - 1},
                {"metrics": {"loss": 3}, "step": 2})  # fmt: skip
    job = Job.objects.get()
    assert loss(job) == [(1, 1), (2, 3)]
    assert job.summary["seed"] == 2.0**64
    assert job.config["seed"] == 2.0**63
    assert notes(job) == [
        "Not stored: 'deep' is not a number.",
        "Not stored: step is 18446744073709551616, not a whole number from 0 to 9007199254740991.",
    ]


def test_fractional_steps_are_rounded_down(trackio: TrackioClient) -> None:
    """From the first one on, the client counts 1.5, 2.5, …"""
    trackio.log(*({"step": step, "metrics": {"loss": step}} for step in (0, 0.5, 1.5, 2.5)))
    assert loss(Job.objects.get()) == [(0, 0.5), (1, 1.5), (2, 2.5)]
    alert = {"project": "radio", "run": "first", "run_id": "a" * 32, "title": "High", "step": 2.5}
    trackio.call("bulk_alert", alerts=[alert])
    assert notes(Job.objects.get()) == ["Alert (warn) at step 2: High"]


def test_buffered_values_may_use_the_json_nan_of_python(trackio: TrackioClient) -> None:
    """With httpx before 0.28, the client sends buffered NaN as Python writes it."""
    values = {"loss": math.nan, "up": math.inf, "down": -math.inf, "more": 1}
    body = json.dumps({"kwargs": {"logs": [entry(metrics=values)]}})
    assert "NaN" in body
    answer = trackio.client.post("/api/bulk_log", body, "application/json")
    assert answer.status_code == 200, answer.content
    found = metrics_json(Job.objects.get(), list(values), 100)
    assert found["not_finite"] == {
        "loss": {"0": "NaN"}, "up": {"0": "Infinity"}, "down": {"0": "-Infinity"},
    }  # fmt: skip
    assert found["series"]["more"] == [1]


def test_reason_just_noted_by_another_request_is_not_noted_again(
    trackio: TrackioClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = runs.find_or_create_run

    def find_while_another_request_notes(*values: Any) -> TrackioRun:
        run = real(*values)
        TrackioRun.objects.update(noted=["'a' is not a number."])
        return run

    name = "training.trackio.recording.find_or_create_run"
    monkeypatch.setattr(name, find_while_another_request_notes)
    trackio.log({"metrics": {"a": "text", "b": "text"}})
    assert notes(Job.objects.get()) == ["Not stored: 'b' is not a number."]
    assert TrackioRun.objects.get().noted == ["'a' is not a number.", "'b' is not a number."]


def test_many_entries_are_several_transactions(trackio: TrackioClient) -> None:
    """On SQLite nothing else is written during one."""
    entries = [{"step": step, "metrics": {"loss": step}, "log_id": str(step)}
               for step in range(recording.MAX_TOGETHER + 1)]  # fmt: skip
    trackio.log(*entries, entries[0])
    job = Job.objects.get()
    assert (job.point_index.revision, job.summary) == (2, {"loss": recording.MAX_TOGETHER})


def test_names_and_texts_with_unprintable_characters_are_cleaned(trackio: TrackioClient) -> None:
    config = {"text": "a\x00b", "_Group": "x" * 60}
    trackio.log({"project": " a\nb ", "run": "c\x07d", "metrics": {"loss": 1}, "config": config})
    job = Job.objects.get()
    trackio.log({"run": "\u200b" * 200 + "a", "run_id": "b" * 32, "metrics": {"loss": 1}})
    assert Job.objects.get(trackio_run__run_id="b" * 32).name == ""
    assert (job.project_name, job.name) == ("a b", "c\N{REPLACEMENT CHARACTER}d")
    assert (job.config, job.tags) == ({"text": "a\N{REPLACEMENT CHARACTER}b"}, [])


def test_later_configuration_is_added(trackio: TrackioClient) -> None:
    trackio.log({"metrics": {"loss": 1}, "config": {"lr": 0.1, "_Created": "nonsense"}})
    trackio.log({"metrics": {"loss": 1}, "config": {"layers": 3}})
    assert Job.objects.get().config == {"lr": 0.1, "layers": 3}


def test_silent_run_is_completed_at_its_last_report(
    trackio: TrackioClient, settings: Settings
) -> None:
    """The client does not say that a run ends."""
    trackio.log({"metrics": {"loss": 1}})
    job = Job.objects.get()
    silence(job, settings.REPORT_SILENCE_SECONDS + 1)
    assert reload(job).status == Status.RUNNING
    silence(job, settings.TRACKIO_SILENCE_SECONDS + 1)
    job = reload(job)
    assert (job.status, job.error_message) == (Status.COMPLETED, "")
    assert job.finished_at == job.heartbeat_at
    assert status.lease_seconds(job) == settings.TRACKIO_SILENCE_SECONDS


def test_report_after_the_silence_continues_the_run(
    trackio: TrackioClient, settings: Settings
) -> None:
    trackio.log({"metrics": {"loss": 1}})
    job = Job.objects.get()
    silence(job, settings.TRACKIO_SILENCE_SECONDS + 1)
    trackio.call("bulk_log_system", logs=[entry(metrics={"cpu": 5.0})])
    job = reload(job)
    assert (job.status, job.silent, job.finished_at) == (Status.RUNNING, False, None)
    assert job.summary == {"loss": 1.0}, "resource metrics have no step"


def test_run_that_was_cancelled_ends_as_cancelled(
    trackio: TrackioClient, settings: Settings
) -> None:
    trackio.log({"metrics": {"loss": 1}})
    Job.objects.update(stop_requested=Stop.CANCEL)
    silence(Job.objects.get(), settings.TRACKIO_SILENCE_SECONDS + 1)
    assert Job.objects.get().status == Status.CANCELLED


def test_alert_is_noted_once(trackio: TrackioClient) -> None:
    alert = {"project": "radio", "run": "first", "run_id": "a" * 32, "title": "High",
             "text": None, "level": "warn", "step": 3, "alert_id": "c" * 32}  # fmt: skip
    for _ in range(2):
        trackio.call("bulk_alert", alerts=[alert], hf_token=None)
    assert notes(Job.objects.get()) == ["Alert (warn) at step 3: High"]


def test_uploaded_files_are_accepted_and_noted_as_not_stored(trackio: TrackioClient) -> None:
    """The client would keep a rejected file, and retry for 30 s when the run ends."""
    answer = trackio.client.post("/api/upload", {"files": b"x"})
    assert len(answer.json()["paths"]) == 1
    upload = {"project": "radio", "run": "first", "run_id": "a" * 32, "step": 1,
              "relative_path": None, "uploaded_file": {"path": "x"}}  # fmt: skip
    trackio.call("bulk_upload_media", uploads=[upload, {**upload, "run": None, "run_id": None}])
    assert notes(Job.objects.get()) == ["Not stored: Files and media are not supported."]


def test_unknown_run_has_no_last_step(trackio: TrackioClient) -> None:
    assert trackio.call("get_runs_for_project", project="none") == []
    found = trackio.call("get_run_summary", project="none", run_id="x")
    assert (found["last_step"], found["num_logs"]) == (None, 0)
    assert not Project.objects.exists()


def test_list_of_runs_reads_no_configuration(trackio: TrackioClient) -> None:
    """A client lists all runs of its project at each start."""
    trackio.log({"metrics": {"loss": 1}, "config": {"labels": ["a"] * 1000}})
    with CaptureQueriesContext(connection) as queries:
        [run] = trackio.call("get_runs_for_project", project="radio")
    assert (run["id"], run["name"]) == ("a" * 32, "first")
    assert not any('"config"' in query["sql"] for query in queries)


def test_summary_is_found_by_run_name_too(trackio: TrackioClient) -> None:
    trackio.log({"metrics": {"loss": 1}, "step": 7, "log_id": "d" * 32, "config": {"lr": 1}})
    found = trackio.call("get_run_summary", project="radio", run="first")
    assert found == {
        "project": "radio", "run": "first", "run_id": "a" * 32, "num_logs": 1,
        "metrics": ["loss"], "config": {"lr": 1}, "last_step": 7,
    }  # fmt: skip


def test_runs_belong_to_the_user_of_the_token(
    trackio: TrackioClient, trackio_of: Callable[..., TrackioClient], bob: User
) -> None:
    trackio.log({"metrics": {"loss": 1}})
    other = trackio_of(bob)
    assert other.call("get_runs_for_project", project="radio") == []
    other.log({"metrics": {"loss": 2}})
    assert sorted(Job.objects.values_list("owner__username", flat=True)) == ["ada", "bob"]


def test_first_request_already_needs_a_token(
    client: Client, trackio_of: Callable[..., TrackioClient], ada: User
) -> None:
    assert client.get("/version").status_code == 401
    wrong = {"X-Trackio-Write-Token": "wrong"}
    answer = client.get("/version", headers=wrong)
    assert (answer.status_code, answer["Content-Type"]) == (401, "application/problem+json")
    reader = trackio_of(ada, scopes=("read",))
    assert reader.client.get("/version").status_code == 200
    reader.call("bulk_log", status=403, logs=[])


def test_token_of_an_url_is_not_accepted(client: Client, ada: User) -> None:
    assert client.get("/version?write_token=a").status_code == 401


@pytest.mark.parametrize(
    ("body", "field", "sentence"),
    [
        ({"kwargs": {}}, "logs", "This field is required."),
        ({"kwargs": []}, "kwargs", "An object with the arguments is required."),
        ({"kwargs": {"logs": [{"project": "radio"}]}}, "logs.0.run", "This field is required."),
    ],
)
def test_malformed_request_is_refused_with_a_sentence(
    trackio: TrackioClient, body: Any, field: str, sentence: str
) -> None:
    answer = trackio.client.post("/api/bulk_log", body, "application/json")
    assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json")
    assert answer.json()["errors"][field] == [sentence]


def test_unknown_operation_is_not_found(trackio: TrackioClient) -> None:
    trackio.call("artifact_log", status=404)


def test_error_for_many_invalid_entries_names_the_first(trackio: TrackioClient) -> None:
    for name, field in (
        ("bulk_log", "logs"), ("bulk_log_system", "logs"), ("bulk_alert", "alerts"),
        ("bulk_upload_media", "uploads"),
    ):  # fmt: skip
        problem = trackio.call(name, status=400, **{field: [{}] * 1000})
        assert all(one.startswith(f"{field}.0.") for one in problem["errors"]), name


@pytest.mark.parametrize("created", ["0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59+00:00"])
def test_start_before_1970_is_ignored(trackio: TrackioClient, created: str) -> None:
    trackio.log({"config": {"_Created": created}})
    started_at = Job.objects.get().started_at
    assert started_at is None or started_at.year > 2000


def alert(number: int) -> dict[str, Any]:
    return {"project": "radio", "run": "first", "run_id": "a" * 32, "title": f"n{number}",
            "alert_id": f"{number:032x}"}  # fmt: skip


def test_alerts_of_an_hour_are_limited(
    trackio: TrackioClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MAX_ALERTS", 3)
    monkeypatch.setattr(recording, "MAX_TOGETHER", 2)
    for _ in range(2):
        trackio.call("bulk_alert", alerts=[alert(number) for number in range(6)])
    found = notes(Job.objects.get())
    assert [note for note in found if note.startswith("Alert")] == [
        "Alert (warn): n0", "Alert (warn): n1", "Alert (warn): n2",
    ]  # fmt: skip
    assert found[3:] == ["Not stored: A job has at most 3 alerts an hour."]
    JobEvent.objects.update(at=Now() - timedelta(hours=2))
    trackio.call("bulk_alert", alerts=[alert(7)])
    assert notes(Job.objects.get())[-1] == "Alert (warn): n7"


def test_too_many_alerts_are_refused(trackio: TrackioClient) -> None:
    alerts = [{"project": "p", "run": "r", "title": "t"}] * 100_001
    trackio.call("bulk_alert", status=400, alerts=alerts)


def test_configuration_is_stored_up_to_its_limits(trackio: TrackioClient) -> None:
    many = {f"n{number}": number for number in range(2001)}
    trackio.log({"config": many}, {"config": many, "step": 1})
    job = Job.objects.get()
    assert job.config == {name: value for name, value in many.items() if value < 2000}
    large = {"n0": "x" * 200_000, "n1": "x" * 200_000, "n2": -2}
    trackio.log({"step": 2, "config": large})
    config = reload(job).config
    assert (len(config["n0"]), config["n1"], config["n2"]) == (200_000, 1, -2)
    limits = "Not stored: A configuration has at most 2,000 names and 262,144 bytes."
    assert notes(job) == [limits]

"""Runs that report to Heimdall, as their client sends them."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models.functions import Now
from django.test import TestCase
from django.utils import timezone
from rest_framework.test import APIClient

from tests.jobs import events_and_statuses, reload
from training.accounts import tokens
from training.accounts.limits import LimitReachedError
from training.jobs import attempts, lifecycle, reports
from training.jobs.directories import attempt_directory
from training.localization.config import TrainConfig
from training.models import Dataset, Job, Project, ReportedBatches
from training.models.scopes import Scope
from training.models.states import Status
from training.validation import InvalidInputError

REPORTS = "/api/v1/training/reports"
NEW = {"name": "Elsewhere", "project": "digits", "config": {"lr": 0.1}, "tags": ["a"],
       "total_epochs": 3, "objective": {"metric": "val_loss"}}  # fmt: skip


@pytest.fixture
def job(api: APIClient) -> Job:
    answer = api.post(REPORTS, NEW, format="json")
    assert answer.status_code == 201, answer.json()
    return Job.objects.get(pk=answer.json()["id"])


@pytest.mark.parametrize("path", ["points", "finish"])
@pytest.mark.parametrize("depth", [300, 900, 100_000])
def test_body_that_is_nested_too_deeply_is_400(
    api: APIClient, job: Job, path: str, depth: int
) -> None:
    body = '{"error_message": ' + "[" * depth + "]" * depth + "}"
    answer = api.post(f"{REPORTS}/{job.pk}/{path}", body, content_type="application/json")
    assert answer.status_code == 400


def point(step: int, epoch: int | None = None, **values: Any) -> dict[str, Any]:
    found = {"step": step, "time": 1e9 + step, "values": values}
    return found if epoch is None else {**found, "epoch": epoch}


def send(api: APIClient, job: Job, batch: str, *points: Any) -> Any:
    body = {"batch": batch, "points": list(points)}
    answer = api.post(f"{REPORTS}/{job.pk}/points", body, format="json")
    assert answer.status_code == 200, answer.json()
    return answer.json()


def columns(api: APIClient, job: Job, query: str = "") -> Any:
    return api.get(f"/api/v1/training/jobs/{job.pk}/metrics{query}").json()


def progress(job: Job) -> list[tuple[int, int | None, bool, dict[str, Any]]]:
    return [
        (event.data["epoch"], event.data["step"], event.data["is_best"], event.data["metrics"])
        for event in job.events.filter(event="training:progress").order_by("seq")
    ]


def test_registered_run_is_a_running_job(api: APIClient, job: Job) -> None:
    shown = api.get(f"/api/v1/training/jobs/{job.pk}").json()
    assert {name: shown[name] for name in ("status", "reported", "project", "config", "tags")} == {
        "status": "running", "reported": True, "project": "digits", "config": {"lr": 0.1},
        "tags": ["a"],
    }  # fmt: skip
    assert shown["objective"] == {"metric": "val_loss", "direction": "minimize"}
    assert events_and_statuses(job) == [("training:status", "running"), ("training:started", "")]


def test_registration_is_repeated_with_its_key(api: APIClient) -> None:
    answers = [
        api.post(REPORTS, {"name": "A"}, format="json", HTTP_IDEMPOTENCY_KEY="k") for _ in range(2)
    ]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert Job.objects.count() == 1


@pytest.mark.parametrize(
    ("body", "field", "sentence"),
    [({"nme": "A"}, "nme", "did you mean 'name'"),
     ({"total_epochs": -1}, "total_epochs", "too small"),
     ({"objective": {"metric": "a", "direction": "up"}}, "objective.direction", "not one of")],
)  # fmt: skip
def test_invalid_registration_names_the_field(
    api: APIClient, body: dict[str, Any], field: str, sentence: str
) -> None:
    answer = api.post(REPORTS, body, format="json")
    assert answer.status_code == 400
    assert sentence in answer.json()["errors"][field][0]


def test_points_become_epochs_events_and_columns(api: APIClient, job: Job) -> None:
    result = send(
        api, job, "c-1", point(1, 1, train_loss=1.0, val_loss=0.5), point(2, 2, val_loss=0.25)
    )
    assert result == {"accepted": 2, "rejected": [], "stop_requested": ""}
    assert progress(job) == [
        (1, 1, False, {"train_loss": 1.0, "val_loss": 0.5}),
        (1, 1, True, {"train_loss": 1.0, "val_loss": 0.5}),
        (2, 2, False, {"val_loss": 0.25}),
        (2, 2, True, {"val_loss": 0.25}),
    ]
    stored = reload(job)
    assert (stored.current_epoch, stored.best_epoch, stored.best_value) == (2, 2, 0.25)
    assert stored.summary == {"train_loss": 1.0, "val_loss": 0.25}
    assert columns(api, job) == {
        "step": [1, 2], "epoch": [1, 2], "seconds": [0.0, 1.0],
        "series": {"train_loss": [1.0, None], "val_loss": [0.5, 0.25]},
        "not_finite": {}, "total": 2,
    }  # fmt: skip


def test_batch_is_applied_once(api: APIClient, job: Job) -> None:
    first = send(api, job, "c-7", point(1, 1, loss=1.0), {"step": -1})
    assert send(api, job, "c-7", point(1, 1, loss=1.0), {"step": -1}) == first
    assert first["accepted"] == 1
    send(api, job, "d-7", point(2, 2, loss=2.0))
    assert [epoch for epoch, *_ in progress(job)] == [1, 2]


@pytest.mark.parametrize("numbers", [[1, 2, 3, 4, 5], [10, 700, 40, 41, 3]])
def test_batches_in_any_order_are_each_applied_once(
    api: APIClient, job: Job, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "MAX_RANGES", 2)
    for number in [*numbers, *reversed(numbers)]:
        send(api, job, f"a-b-{number}", point(number, number, loss=float(number)))
    assert [epoch for epoch, *_ in progress(job)] == numbers
    assert ReportedBatches.objects.filter(job=job).count() <= 3
    assert all(row.client == "a-b" for row in ReportedBatches.objects.filter(job=job))


def test_all_values_of_a_step_are_kept_and_the_last_one_is_in_the_columns(
    api: APIClient, job: Job
) -> None:
    for number, value in enumerate([0.5, 0.25, 0.5]):
        later = {**point(3, loss=value), "time": 1e9 + number}
        send(api, job, f"c-{number}", later, point(3 + number, other=value))
    assert columns(api, job, "?series=loss")["series"] == {"loss": [0.5]}
    assert columns(api, job, "?series=loss&repeats=0")["total"] == 1
    assert columns(api, job, "?series=loss,other&repeats=1") == {
        "step": [3, 3, 3, 3, 4, 5], "epoch": [None] * 6, "seconds": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
        "series": {"loss": [0.5, 0.25, 0.5, None, None, None],
                   "other": [None, None, None, 0.5, 0.25, 0.5]},
        "not_finite": {}, "total": 6,
    }  # fmt: skip


def test_invalid_point_does_not_affect_the_others(api: APIClient, job: Job) -> None:
    bad: list[Any] = [
        {"step": 1.5, "time": 1, "values": {"a": 1}},
        {"step": 1, "time": "now", "values": {"a": 1}},
        point(3, a="one"), point(4, **{"a\nb": 1}), {**point(5, a=1), "colour": "red"}, "point",
        point(7), point(8, -1, a=1), point(9, a=True),
    ]  # fmt: skip
    result = send(api, job, "c-1", point(0, a=1), *bad, point(10, a=2))
    assert result["accepted"] == 2
    reasons = {one["point"]: one["reason"] for one in result["rejected"]}
    assert list(reasons) == list(range(1, 10))
    for position, words in enumerate(
        ["step is 1.5", "time is 'now'", "value of 'a' is 'one'", "control character",
         "Unknown field 'colour'", "A point is an object", "values is empty", "epoch is -1",
         "value of 'a' is True"], 1,
    ):  # fmt: skip
        assert words in reasons[position]
    assert columns(api, job)["step"] == [0, 10]


def test_non_finite_values_are_stored_and_labelled(api: APIClient, job: Job) -> None:
    send(api, job, "c-1", *[
        point(step, 1, loss=value) for step, value in enumerate([1, "NaN", "Infinity", "-Infinity"])
    ])  # fmt: skip
    shown = columns(api, job)
    assert shown["series"] == {"loss": [1.0, None, None, None]}
    assert shown["not_finite"] == {"loss": {"1": "NaN", "2": "Infinity", "3": "-Infinity"}}
    assert reload(job).summary == {"loss": None}


def test_later_points_of_an_epoch_are_merged_into_it(api: APIClient, job: Job) -> None:
    send(api, job, "c-1", point(1, 1, train_loss=1.0))
    send(api, job, "c-2", point(2, 1, val_loss=2.0))
    assert [found[3] for found in progress(job)] == [
        {"train_loss": 1.0}, {"train_loss": 1.0, "val_loss": 2.0},
        {"train_loss": 1.0, "val_loss": 2.0},
    ]  # fmt: skip
    assert job.epochs.get().metrics == {"train_loss": 1.0, "val_loss": 2.0}


def test_epochs_that_later_points_change_are_sent_again(api: APIClient, job: Job) -> None:
    for name in ("epochs", "metrics"):
        url = f"/api/v1/training/jobs/{job.pk}/{name}"
        send(api, job, f"{name}-1", point(1, 1, **{name: 1.0}))
        etag = api.get(url).headers["ETag"]
        assert api.get(url, HTTP_IF_NONE_MATCH=etag).status_code == 304
        send(api, job, f"{name}-2", point(1, 1, **{name: 2.0}))
        assert api.get(url, HTTP_IF_NONE_MATCH=etag).status_code == 200


def test_best_epoch_changes_when_its_value_is_corrected(api: APIClient, job: Job) -> None:
    send(api, job, "c-1", point(1, 1, val_loss=0.5), point(2, 2, val_loss=0.1))
    assert reload(job).best_epoch == 2
    send(api, job, "c-2", point(2, 2, val_loss=0.9))
    assert (reload(job).best_epoch, reload(job).best_value) == (1, 0.5)


def test_steps_are_announced_at_most_ten_times_a_second(
    api: APIClient, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = timezone.now()
    clock = SimpleNamespace(now=lambda: started)
    monkeypatch.setattr("training.jobs.points.timezone", clock)
    for number in range(1, 4):
        send(api, job, f"c-{number}", point(number, loss=float(number)))
    assert progress(job) == [(0, 1, False, {"loss": 1.0})]
    clock.now = lambda: started + timedelta(seconds=0.1)
    for number in range(4, 6):
        send(api, job, f"c-{number}", point(number, loss=float(number)))
    assert progress(job)[1:] == [(0, 4, False, {"loss": 4.0})]
    api.post(f"{REPORTS}/{job.pk}/heartbeat")
    assert progress(job)[2:] == [(0, 5, False, {"loss": 5.0})]


def test_late_point_does_not_change_the_summary(api: APIClient, job: Job) -> None:
    send(api, job, "c-1", point(9, loss=9.0), point(3, loss=3.0))
    assert reload(job).summary == {"loss": 9.0}


def test_body_may_be_compressed_within_bounds(api: APIClient, job: Job) -> None:
    url = f"{REPORTS}/{job.pk}/points"

    def post(content: bytes, encoding: str = "gzip") -> Any:
        return api.generic(
            "POST", url, cast(str, content), "application/json", HTTP_CONTENT_ENCODING=encoding
        )

    body = json.dumps({"batch": "c-1", "points": [point(1, loss=1.0)]}).encode()
    assert post(gzip.compress(body)).json()["accepted"] == 1
    large = post(gzip.compress(b" " * 9_000_000))
    assert large.status_code == 413 and "8,388,608 bytes" in large.json()["detail"]
    assert post(b"not gzip").status_code == 400
    assert post(gzip.compress(body)[:-5]).status_code == 400
    assert post(body, "br").status_code == 415
    nan = post(b'{"batch": "c-2", "points": [NaN]}', "")
    assert nan.status_code == 400 and '"NaN"' in nan.json()["detail"]


@pytest.mark.parametrize(
    ("body", "field", "sentence"),
    [({"batch": "c", "points": []}, "batch", "'c' is not '<client id>-<n>'"),
     ({"batch": "c-1"}, "points", "A list of points is required"),
     ({"batch": "c-1", "points": [1] * 10_001}, "points", "Too many points (10,001)"),
     ({"batch": "c-1", "points": [], "more": 1}, "more", "Unknown field")],
)  # fmt: skip
def test_invalid_batch_is_rejected_completely(
    api: APIClient, job: Job, body: dict[str, Any], field: str, sentence: str
) -> None:
    answer = api.post(f"{REPORTS}/{job.pk}/points", body, format="json")
    assert answer.status_code == 400
    assert sentence in answer.json()["errors"][field][0]


def finish(api: APIClient, job: Job, **body: Any) -> Any:
    return api.post(f"{REPORTS}/{job.pk}/finish", body, format="json")


def test_finished_run_stays_finished_and_keeps_late_points(api: APIClient, job: Job) -> None:
    assert finish(api, job, status="completed").json()["status"] == "completed"
    assert finish(api, job, status="completed").status_code == 200
    conflict = finish(api, job, status="failed", error_message="no")
    assert conflict.status_code == 409 and "it is completed" in conflict.json()["detail"]
    assert send(api, job, "c-1", point(1, 1, loss=1.0))["accepted"] == 1
    assert reload(job).status == Status.COMPLETED
    ended = [status for event, status in events_and_statuses(job) if event == "training:completed"]
    assert ended == ["completed"]


def test_failed_run_names_its_error(api: APIClient, job: Job) -> None:
    finish(api, job, status="failed", error_message="ValueError: no")
    assert reload(job).error_message == "ValueError: no"
    wrong = finish(api, job, status="paused")
    assert wrong.status_code == 400 and "'paused' is not one of" in str(wrong.json()["errors"])


def silence(job: Job, seconds: int = 1000) -> None:
    Job.objects.filter(pk=job.pk).update(heartbeat_at=Now() - timedelta(seconds=seconds))
    reports.end_silent("worker")


def test_silent_run_fails_and_continues_with_the_next_report(api: APIClient, job: Job) -> None:
    silence(job, 100)
    assert reload(job).status == Status.RUNNING
    silence(job)
    failed = reload(job)
    assert (failed.status, failed.error_message) == ("failed", "no report for 120 seconds")
    send(api, job, "c-1", point(1, loss=1.0))
    again = reload(job)
    assert (again.status, again.error_message, again.finished_at) == ("running", "", None)
    silence(job)
    assert finish(api, job, status="completed").json()["status"] == "completed"
    silence(job)
    assert reload(job).status == Status.COMPLETED


def test_run_finished_as_failed_does_not_continue(api: APIClient, job: Job) -> None:
    finish(api, job, status="failed", error_message="no")
    send(api, job, "c-1", point(1, loss=1.0))
    api.post(f"{REPORTS}/{job.pk}/heartbeat")
    assert reload(job).status == Status.FAILED


@pytest.mark.parametrize("stop", ["pause", "cancel"])
def test_heartbeat_returns_the_requested_stop(api: APIClient, job: Job, stop: str) -> None:
    def heartbeat() -> Any:
        return api.post(f"{REPORTS}/{job.pk}/heartbeat").json()

    assert heartbeat() == {"stop_requested": ""}
    assert api.post(f"/api/v1/training/jobs/{job.pk}/{stop}").status_code == 202
    assert heartbeat() == {"stop_requested": stop}
    assert reload(job).status == Status.RUNNING
    assert finish(api, job, status="cancelled").json()["stop_requested"] == ""
    assert heartbeat() == {"stop_requested": "cancel"}


def test_silent_run_with_a_requested_cancellation_is_cancelled(api: APIClient, job: Job) -> None:
    api.post(f"/api/v1/training/jobs/{job.pk}/cancel")
    silence(job)
    assert reload(job).status == Status.CANCELLED


def test_heimdall_does_not_run_a_reported_job(api: APIClient, job: Job) -> None:
    finish(api, job, status="failed", error_message="no")
    for action in ("resume", "clone"):
        assert api.post(f"/api/v1/training/jobs/{job.pk}/{action}").status_code == 409
    Job.objects.filter(pk=job.pk).update(status=Status.QUEUED)
    assert attempts.claim(job.pk, "worker") is None


def test_log_is_written_at_its_offset_once(api: APIClient, job: Job) -> None:
    def append(after: int, text: bytes) -> Any:
        url = f"{REPORTS}/{job.pk}/logs?after={after}"
        return api.generic("POST", url, cast(str, text), "text/plain; charset=utf-8")

    assert append(0, b"one\n").json() == {"size": 4}
    assert append(0, b"one\ntwo\n").json() == {"size": 8}
    assert append(4, b"two\n").json() == {"size": 8}
    assert append(2, b"e").json() == {"size": 8}
    assert (attempt_directory(job.pk, 1) / "trainer.log").read_bytes() == b"one\ntwo\n"
    for after in (0, 8):
        assert append(after, b"").json() == {"size": 8}
    assert append(2**31 - 1, b"x").status_code == 413


def test_log_states_which_output_was_never_received(api: APIClient, job: Job) -> None:
    url = f"{REPORTS}/{job.pk}/logs?after="
    for after, text in ((0, b"one\n"), (10, b"two\n"), (20, b"three\n")):
        answer = api.generic("POST", f"{url}{after}", cast(str, text), "text/plain")
        assert answer.status_code == 200
    content = b"".join(api.get(f"/api/v1/training/jobs/{job.pk}/logs"))
    assert content.startswith(b"one\n") and content.endswith(b"three\n")
    assert b"bytes 4 to 19 of the output" in content


def test_only_owner_team_and_staff_may_report(
    api: APIClient, job: Job, bob: User, staff: User
) -> None:
    def status(user: User) -> int:
        client = APIClient()
        client.force_authenticate(user)
        return client.post(f"{REPORTS}/{job.pk}/heartbeat").status_code

    assert (status(bob), status(staff)) == (404, 200)
    team = Group.objects.create(name="team")
    bob.groups.add(team)
    Job.objects.filter(pk=job.pk).update(team=team)
    assert status(bob) == 200


def test_reports_have_a_separate_rate_limit(api: APIClient, job: Job, settings: Any) -> None:
    settings.REQUESTS_PER_MINUTE = 1
    codes = [api.post(f"{REPORTS}/{job.pk}/heartbeat").status_code for _ in range(3)]
    assert codes == [200, 200, 200]


def test_only_reported_jobs_accept_reports(api: APIClient, ada: User, dataset: Dataset) -> None:
    submitted = lifecycle.submit(ada, dataset, TrainConfig())
    assert api.post(f"{REPORTS}/{submitted.pk}/heartbeat").status_code == 404


@pytest.mark.parametrize(
    ("query", "found"),
    [("metric.val_loss__lt=0.3", True), ("metric.val_loss__gt=0.3", False),
     ("metric.val_loss=0.25", True), ("metric.a/ä b.0=7", True), ("metric.other__gt=0", False),
     ("metric.val_loss__gt=0.1&metric.a/ä b.0__lt=7", False)],
)  # fmt: skip
def test_jobs_are_filtered_by_the_newest_value(
    api: APIClient, job: Job, query: str, found: bool
) -> None:
    send(api, job, "c-1", point(1, 1, **{"val_loss": 0.25, "a/ä b.0": 7}))
    answer = api.get(f"/api/v1/training/jobs?{query}")
    assert answer.status_code == 200, answer.json()
    assert len(answer.json()["results"]) == found


@pytest.mark.parametrize("text", ["low", "1_0", "nan"])
def test_metric_filter_needs_a_number(api: APIClient, text: str) -> None:
    answer = api.get(f"/api/v1/training/jobs?metric.loss__lt={text}")
    assert answer.status_code == 400
    assert f"'{text}' is not a finite number" in answer.json()["errors"]["metric.loss__lt"][0]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [({"text": "x" * 300_000}, "300,011 bytes as JSON, and the limit is 262,144."),
     ({str(number): 0 for number in range(2001)}, "2,001 names, and the limit is 2,000.")],
)  # fmt: skip
def test_configuration_is_limited(api: APIClient, config: dict[str, Any], sentence: str) -> None:
    answer = api.post(REPORTS, {"project": "new", "config": config}, format="json")
    assert answer.status_code == 400
    (found,) = answer.json()["errors"]["config"]
    assert found == f"The configuration has {sentence}"
    assert not Job.objects.exists() and not Project.objects.exists()


def test_later_configuration_is_limited(job: Job) -> None:
    with transaction.atomic(), pytest.raises(InvalidInputError) as caught:
        reports.record_points(job, {}, "ada", config={"text": "x" * 300_000})
    assert caught.value.errors.keys() == {"config"}
    assert reload(job).config == {"lr": 0.1}


@pytest.mark.parametrize("headers", [{}, {"HTTP_IDEMPOTENCY_KEY": "k"}])
@pytest.mark.parametrize("limit", ["reported_jobs", "stored_bytes"])
def test_refused_registration_creates_no_project(
    api: APIClient, settings: Any, limit: str, headers: dict[str, Any]
) -> None:
    settings.USER_LIMITS = {**settings.USER_LIMITS, limit: 0}
    answer = api.post(REPORTS, NEW, format="json", **headers)
    assert (answer.status_code, answer.json()["limit"]) == (409, limit)
    assert not Project.objects.exists()


def test_log_after_the_end_counts_toward_the_stored_bytes(
    api: APIClient, job: Job, settings: Any
) -> None:
    def append(after: int, size: int) -> int:
        url = f"{REPORTS}/{job.pk}/logs?after={after}"
        return api.generic("POST", url, cast(str, b"x" * size), "text/plain").status_code

    assert append(0, 1000) == 200
    with TestCase.captureOnCommitCallbacks(execute=True):
        finish(api, job, status="completed")
    measured = reload(job).disk_bytes
    assert measured
    assert append(1000, 50_000) == 200
    assert append(1000, 50_000) == 200  # which is there already
    assert reload(job).disk_bytes == measured + 50_000
    settings.USER_LIMITS = {**settings.USER_LIMITS, "stored_bytes": measured + 60_000}
    assert append(51_000, 50_000) == 409
    assert (attempt_directory(job.pk, 1) / "trainer.log").stat().st_size == 51_000


@pytest.mark.parametrize("limit", ["reported_jobs", "stored_bytes"])
def test_reopening_a_failed_job_is_limited(
    api: APIClient, job: Job, settings: Any, limit: str
) -> None:
    finish(api, job, status="failed", error_message="no")
    settings.USER_LIMITS = {**settings.USER_LIMITS, limit: 0}
    with pytest.raises(LimitReachedError):
        reports.reopen(job, "ada")
    assert reload(job).status == Status.FAILED


def test_silent_job_continues_beyond_the_limit(api: APIClient, job: Job, settings: Any) -> None:
    silence(job)
    reports.end_silent("worker")
    settings.USER_LIMITS = {**settings.USER_LIMITS, "reported_jobs": 0}
    send(api, job, "c-1", point(1, 1, loss=1.0))
    assert reload(job).status == Status.RUNNING


@pytest.mark.parametrize(
    ("scopes", "expected"), [(["report"], (403, 404)), (["report", "admin"], (200, 404))]
)
def test_staff_report_with_the_scope_admin(
    job: Job, staff: User, dataset: Dataset, scopes: list[Scope], expected: tuple[int, int]
) -> None:
    submitted = lifecycle.submit(job.owner, dataset, TrainConfig())
    _, token = tokens.create_token(staff, "script", scopes=scopes)
    client = APIClient(headers={"Authorization": f"Bearer {token}"})
    found = tuple(
        client.post(f"{REPORTS}/{one.pk}/heartbeat").status_code for one in (job, submitted)
    )
    assert found == expected

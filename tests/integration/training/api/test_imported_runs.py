"""Runs that ended before they are registered."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.utils import timezone
from rest_framework.test import APIClient

from training.api.views import reports as views
from training.models import Job
from training.points import store

REPORTS = "/api/v1/training/reports"
RUN = {"name": "Old", "external_id": "import:0123", "started_at": "2024-02-03T04:05:06.789Z"}
END = {"status": "completed", "finished_at": "2024-02-03T05:05:06.789+00:00"}


def register(api: APIClient, **body: Any) -> Any:
    answer = api.post(REPORTS, {**RUN, **body}, format="json")
    assert answer.status_code in (200, 201), answer.json()
    return answer


def finish(api: APIClient, job_id: str, **body: Any) -> Any:
    return api.post(f"{REPORTS}/{job_id}/finish", {**END, **body}, format="json")


def test_run_keeps_its_start_and_end_times(api: APIClient) -> None:
    job = register(api).json()
    assert job["started_at"] == "2024-02-03T04:05:06.789000Z"
    ended = finish(api, job["id"]).json()
    assert ended["finished_at"] == "2024-02-03T05:05:06.789000Z"
    assert Job.objects.get().created_at > timezone.now() - timedelta(minutes=5)


def test_second_registration_returns_the_first_job_unchanged(api: APIClient) -> None:
    first = register(api)
    finish(api, first.json()["id"])
    second = register(api, name="Renamed")
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json()["id"] == first.json()["id"]
    assert (second.json()["name"], second.json()["status"]) == ("Old", "completed")
    assert Job.objects.count() == 1


def test_external_id_is_unique_for_each_owner_only(api: APIClient, bob: User) -> None:
    first = register(api).json()
    api.force_authenticate(bob)
    assert register(api).json()["id"] != first["id"]


def test_end_at_another_time_replaces_the_first(api: APIClient) -> None:
    job_id = register(api).json()["id"]
    finish(api, job_id)
    seq = Job.objects.get().seq
    later = finish(api, job_id, finished_at="2024-02-04T00:00:00Z").json()
    assert later["finished_at"] == "2024-02-04T00:00:00Z"
    assert finish(api, job_id, finished_at="2024-02-04T00:00:00Z").json()["seq"] == seq


@pytest.mark.parametrize(
    ("moment", "sentence"),
    [("2024-02-03T04:05:06", "with an offset"), ("1969-01-01T00:00:00Z", "is before 1970"),
     ("2999-01-01T00:00:00Z", "is in the future"), (1706933106, "a date and time")],
)  # fmt: skip
def test_implausible_time_is_rejected(api: APIClient, moment: str | int, sentence: str) -> None:
    answer = api.post(REPORTS, {"started_at": moment}, format="json")
    assert answer.status_code == 400
    assert sentence in answer.json()["errors"]["started_at"][0]
    job_id = register(api).json()["id"]
    answer = finish(api, job_id, finished_at=moment)
    assert sentence in answer.json()["errors"]["finished_at"][0]


def whole(**body: Any) -> Any:
    points = [
        {"step": step, "time": 1706933106.5 + step, "epoch": step, "values": {"loss": 1 / step}}
        for step in (1, 2)
    ]
    return {**RUN, "points": points, "end": END, **body}


def test_complete_run_is_registered_in_one_request(api: APIClient) -> None:
    body = whole(objective={"metric": "loss"})
    job = api.post(REPORTS, body, format="json").json()
    assert (job["status"], job["best_epoch"], job["summary"]) == ("completed", 2, {"loss": 0.5})
    assert job["finished_at"] == "2024-02-03T05:05:06.789000Z"
    columns = api.get(f"/api/v1/training/jobs/{job['id']}/metrics").json()
    assert columns["series"] == {"loss": [1.0, 0.5]}
    stored = Job.objects.get()
    assert [event.seq for event in stored.events.order_by("seq")] == [*range(1, stored.seq + 1)]
    assert stored.events.latest("seq").event == "training:completed"
    again = api.post(REPORTS, body, format="json")
    assert (again.status_code, again.json()["seq"]) == (200, job["seq"])


@pytest.mark.parametrize(
    ("change", "field"),
    [({"points": [{"step": 1, "time": 1.0, "values": {"a": "x"}}]}, "points.0"),
     ({"points": 7}, "points"), ({"points": [{}] * 10_001}, "points"),
     ({"end": {"status": "paused"}}, "end.status"),
     ({"end": {**END, "finished_at": "2024-01-01T00:00:00Z"}}, "end.finished_at")],
)  # fmt: skip
def test_one_request_with_an_invalid_part_registers_nothing(
    api: APIClient, change: dict[str, Any], field: str
) -> None:
    answer = api.post(REPORTS, whole(**change), format="json")
    assert answer.status_code == 400
    assert field in answer.json()["errors"]
    assert not Job.objects.exists()


def test_points_over_the_series_limit_reject_the_whole_request(
    api: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_SERIES", 0)
    answer = api.post(REPORTS, whole(), format="json")
    assert answer.status_code == 400
    assert "points.0" in answer.json()["errors"]
    assert not Job.objects.exists()


def test_end_before_the_beginning_is_refused(api: APIClient) -> None:
    answer = finish(api, register(api).json()["id"], finished_at="2024-01-01T00:00:00Z")
    assert answer.status_code == 400
    assert "is before the run began" in answer.json()["errors"]["finished_at"][0]


def test_parent_is_a_job_that_the_user_may_see(api: APIClient, bob: User) -> None:
    parent = register(api).json()["id"]
    child = register(api, external_id="import:4567", parent=parent).json()
    assert child["parent_id"] == parent
    api.force_authenticate(bob)
    answer = api.post(REPORTS, {"parent": parent}, format="json")
    assert answer.status_code == 400
    assert "does not exist, or you cannot view it" in answer.json()["errors"]["parent"][0]


def test_external_id_is_printable_ascii(api: APIClient) -> None:
    for text in ("a b", "é", "x" * 201):
        answer = api.post(REPORTS, {"external_id": text}, format="json")
        assert "external_id" in answer.json()["errors"], text


def test_retention_of_an_imported_run_counts_from_its_import(api: APIClient) -> None:
    """Retention counts from the end of a job; an old run must not vanish on the day it arrives."""
    job_id = register(api, started_at="2004-02-03T04:05:06Z").json()["id"]
    point = {"step": 1, "time": 1075777506.0, "epoch": 1, "values": {"loss": 0.5}}
    points = [point, {**point, "step": 2, "epoch": 2}]
    api.post(f"{REPORTS}/{job_id}/points", {"batch": "a-1", "points": points}, format="json")
    finish(api, job_id, finished_at="2004-02-03T05:05:06Z")

    def prune() -> list[int]:
        call_command("prune", stdout=StringIO())
        return list(Job.objects.get().epochs.values_list("epoch", flat=True))

    assert prune() == [1, 2]
    Job.objects.update(created_at=timezone.now() - timedelta(days=800))
    assert prune() == [2]


def test_fields_of_registrations_and_ends_are_in_the_schema(api: APIClient) -> None:
    schemas = api.get("/api/v1/schema?format=json").json()["components"]["schemas"]
    assert {"external_id", "started_at", "parent", "points", "end"} <= schemas[
        views.CreateReport.__name__
    ]["properties"].keys()
    assert schemas[views.FinishReport.__name__]["properties"]["finished_at"]

"""Limits per user at every endpoint and form, also with concurrent requests."""

from __future__ import annotations

import gc
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import StreamingHttpResponse
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from realtime import connections
from tests.jobs import claim_job, reload
from tests.stack import Stack, new_database
from training.accounts import limits
from training.accounts.limits import LimitReachedError
from training.api.held_places import count_download
from training.jobs import lifecycle, queue, results
from training.jobs.attempts import Attempt
from training.jobs.logs import attempt_log
from training.localization.config import TrainConfig
from training.models import (
    AuditEntry,
    Dataset,
    ImportInProgress,
    Job,
    LimitOverride,
    Project,
    Sweep,
    TrainedModel,
)
from training.models.states import Status
from training.models.webhooks import Delivery, Webhook
from training.sweeps import lifecycle as sweeps
from training.sweeps import scheduler
from training.sweeps.spec import validate_spec
from training.webhooks import outbox, service
from training.workers import registry

SENTENCE = (
    "ada has 1 queued jobs, and the limit is 1: cancel some, or wait until some have started, "
    "or ask an operator for a higher limit."
)
API = "/api/v1/training"


@pytest.fixture
def allow(settings: Any) -> Any:
    """Set limits of all users."""

    def set_limits(**maximums: int) -> None:
        settings.USER_LIMITS = {**settings.USER_LIMITS, **maximums}

    return set_limits


def new_sweep(owner: User, dataset: Dataset, parallel: int = 2) -> Sweep:
    spec = validate_spec(
        {"name": "Seeds", "dataset_id": str(dataset.pk), "method": "grid",
         "max_parallel": parallel, "space": {"seed": {"values": [1, 2, 3, 4]}}}
    )  # fmt: skip
    return sweeps.create(owner, dataset, spec)


def test_every_way_to_queue_a_job_is_rejected_at_the_limit(
    api: APIClient, page: Client, dataset: Dataset, job: Job, allow: Any
) -> None:
    paused = lifecycle.submit(job.owner, dataset, TrainConfig())
    lifecycle.request_pause(paused, "ada")
    allow(queued_jobs=1)
    for path, body in (
        ("jobs", {"dataset_id": str(dataset.pk)}),
        (f"jobs/{job.pk}/clone", {}),
        (f"jobs/{paused.pk}/resume", {}),
        ("datasets/generate", {"name": "More", "samples": 100}),
    ):
        answer = api.post(f"{API}/{path}", body, "json")
        found = answer.json()
        assert (answer.status_code, found["detail"]) == (409, SENTENCE), path
        assert (found["limit"], found["used"], found["maximum"]) == ("queued_jobs", 1, 1)
    form = {"dataset": dataset.pk, **TrainConfig().model_dump(), "needs": "auto", "priority": 0,
            "processes": 1, "name": "", "notes": "", "project": ""}  # fmt: skip
    form = {name: value for name, value in form.items() if value is not None}
    refused = page.post("/jobs/new", form)
    assert (refused.status_code, SENTENCE in refused.content.decode()) == (400, True)
    for path in ("/jobs/first", f"/jobs/{paused.pk}/resume"):
        assert SENTENCE in page.post(path, follow=True).content.decode(), path
    bulk = page.post("/jobs/actions", {"action": "resume", "job": [str(paused.pk)]}, follow=True)
    assert SENTENCE.rstrip(".") in bulk.content.decode()
    refused = page.post("/datasets", {"name": "More", "samples": 100, "seed": 0, "generate": ""})
    assert refused.status_code == 400
    assert Dataset.objects.count() == 1
    assert Job.objects.filter(status=Status.QUEUED).count() == 1
    lifecycle.request_cancel(job, "ada")
    assert api.post(f"{API}/jobs/{paused.pk}/resume").status_code == 202


def test_rejected_job_creates_no_project(
    api: APIClient, client: Client, staff: User, ada: User, dataset: Dataset, allow: Any
) -> None:
    allow(queued_jobs=0)
    body = {"dataset_id": str(dataset.pk), "project": "New"}
    assert api.post(f"{API}/jobs", body, "json").status_code == 409
    client.force_login(staff)
    form = {"dataset": dataset.pk, **TrainConfig().model_dump(exclude_none=True), "needs": "auto",
            "priority": 0, "processes": 1, "project": "New"}  # fmt: skip
    answer = client.post("/admin/training/job/add/", form)
    assert (answer.status_code, "the limit is 0" in answer.content.decode()) == (400, True)
    assert not Project.objects.exists()


def test_projects_are_limited_wherever_they_are_created(
    api: APIClient, page: Client, ada: User, dataset: Dataset, allow: Any
) -> None:
    Project.objects.create(owner=ada, name="Old")
    allow(projects=1)
    sentence = "ada has 1 projects, and the limit is 1: delete some first, or ask an operator"
    sweep = {"name": "S", "dataset_id": str(dataset.pk), "space": {"seed": {"values": [1]}},
             "method": "grid"}  # fmt: skip
    for path, body in (
        ("projects", {"name": "New"}),
        ("jobs", {"dataset_id": str(dataset.pk), "project": "New"}),
        ("reports", {"project": "New"}),
        ("sweeps", {**sweep, "project": "New"}),
    ):
        answer = api.post(f"{API}/{path}", body, "json")
        assert (answer.status_code, answer.json()["limit"]) == (409, "projects"), path
        assert sentence in answer.json()["detail"]
    refused = page.post("/projects/new", {"name": "New", "description": "Kept"})
    assert (refused.status_code, sentence in refused.content.decode()) == (400, True)
    assert "Kept" in refused.content.decode()
    job = {"dataset_id": str(dataset.pk), "project": "Old"}
    assert api.post(f"{API}/jobs", job, "json").status_code == 201
    assert list(Project.objects.values_list("name", flat=True)) == ["Old"]


def test_job_requeued_by_a_worker_may_exceed_the_queue_limit(
    job: Job, running_attempt: Any, dataset: Dataset, allow: Any
) -> None:
    lifecycle.submit(job.owner, dataset, TrainConfig())
    allow(queued_jobs=1)
    results.requeue_or_fail(running_attempt, "worker", "worker_stopped", "The worker was stopped.")
    assert reload(job).status == Status.QUEUED


def test_sweep_waits_for_room_in_the_queue_before_its_next_trial(
    ada: User, dataset: Dataset, allow: Any
) -> None:
    allow(queued_jobs=1)
    sweep = new_sweep(ada, dataset)
    scheduler.advance_sweep(sweep.pk)
    sweep.refresh_from_db()
    assert (sweep.status, sweep.started_trials, sweep.jobs.count()) == ("running", 1, 1)
    claim_job(sweep.jobs.get())
    scheduler.advance_sweep(sweep.pk)
    sweep.refresh_from_db()
    assert (sweep.status, sweep.started_trials, sweep.jobs.count()) == ("running", 2, 2)


def test_running_sweeps_are_limited_when_started_and_when_resumed(
    ada: User, dataset: Dataset, allow: Any, api: APIClient, page: Client
) -> None:
    allow(running_sweeps=1)
    first = new_sweep(ada, dataset)
    body = {"name": "B", "dataset_id": str(dataset.pk), "space": {"seed": {"values": [1]}},
            "method": "grid"}  # fmt: skip
    answer = api.post(f"{API}/sweeps", body, "json")
    assert (answer.status_code, answer.json()["limit"]) == (409, "running_sweeps")
    assert "ada has 1 running sweeps, and the limit is 1" in answer.json()["detail"]
    sweeps.pause(first, "ada")
    new_sweep(ada, dataset)
    assert api.post(f"{API}/sweeps/{first.pk}/resume").status_code == 409
    assert "the limit is 1" in page.post(f"/sweeps/{first.pk}/resume", follow=True).content.decode()
    first.refresh_from_db()
    assert first.status == "paused"


def test_resuming_a_sweep_resumes_all_of_its_trials_or_none(
    ada: User, dataset: Dataset, allow: Any
) -> None:
    sweep = new_sweep(ada, dataset)
    scheduler.advance_sweep(sweep.pk)
    sweeps.pause(sweep, "ada")
    allow(queued_jobs=1)
    with pytest.raises(LimitReachedError):
        sweeps.resume(sweep, "ada")
    sweep.refresh_from_db()
    assert sweep.status == "paused"
    assert set(sweep.jobs.values_list("status", flat=True)) == {"paused"}


def test_reported_jobs_are_limited_while_they_run(api: APIClient, allow: Any) -> None:
    allow(reported_jobs=1)
    first = api.post(f"{API}/reports", {"name": "One"}, "json").json()
    answer = api.post(f"{API}/reports", {"name": "Two"}, "json")
    assert (answer.status_code, answer.json()["limit"]) == (409, "reported_jobs")
    api.post(f"{API}/reports/{first['id']}/finish", {"status": "completed"}, "json")
    assert api.post(f"{API}/reports", {"name": "Two"}, "json").status_code == 201


def test_jobs_beyond_the_running_limit_stay_queued_and_name_the_reason(
    api: APIClient, job: Job, dataset: Dataset, bob: User, allow: Any
) -> None:
    allow(running_jobs=1)
    second = lifecycle.submit(job.owner, dataset, TrainConfig())
    claim_job(job)
    assert queue.next_job(["cpu"]) is None
    with pytest.raises(AssertionError, match="cannot be claimed"):
        claim_job(second)
    registry.register("worker", 2)
    waits_for = api.get(f"{API}/jobs/{second.pk}").json()["waits_for"]
    assert waits_for == "ada has as many running jobs as the limit allows."
    other = lifecycle.submit(bob, None, TrainConfig())
    assert queue.next_job(["cpu"]) == other.pk


def test_staff_raise_the_limit_of_one_user(
    client: Client, staff: User, ada: User, bob: User, allow: Any
) -> None:
    allow(queued_jobs=0)
    client.force_login(staff)
    add = "/admin/training/limitoverride/add/"
    assert client.post(add, {"user": "ada", "name": "queued_jobs", "maximum": 3}).status_code == 302
    assert limits.maximum(limits.QUEUED_JOBS, ada.pk) == 3
    assert limits.maximum(limits.QUEUED_JOBS, bob.pk) == 0
    assert AuditEntry.objects.filter(actor="grace", action="limit changed").exists()
    again = client.post(add, {"user": "ada", "name": "queued_jobs", "maximum": 4})
    assert again.status_code == 200  # one for each user
    assert client.post(add, {"user": "nobody", "name": "imports", "maximum": 4}).status_code == 200
    row = LimitOverride.objects.get()
    change = f"/admin/training/limitoverride/{row.pk}/change/"
    assert client.post(change, {"name": "queued_jobs", "maximum": 9}).status_code == 302
    assert limits.maximum(limits.QUEUED_JOBS, ada.pk) == 9
    client.force_login(ada)
    assert client.post(change, {"name": "queued_jobs", "maximum": 99}).status_code != 200
    assert limits.maximum(limits.QUEUED_JOBS, ada.pk) == 9


def test_account_page_and_api_show_use_and_limit(
    page: Client, api: APIClient, job: Job, allow: Any
) -> None:
    allow(queued_jobs=1)
    text = page.get("/account").content.decode()
    for limit in limits.ALL:
        assert limit.title in text
    assert text.count("limit reached") == 1
    rows = {row["name"]: row for row in api.get("/api/v1/account/limits").json()}
    assert rows["queued_jobs"] == {
        "name": "queued_jobs", "title": "Queued jobs", "used": 1, "maximum": 1
    }  # fmt: skip
    assert set(rows) == {limit.name for limit in limits.ALL}


def test_user_has_at_most_one_import_at_a_time(api: APIClient, ada: User, bob: User) -> None:
    def send() -> Any:
        upload = SimpleUploadedFile("a.zip", b"no zip")
        return api.post(f"{API}/datasets/import", {"name": "A", "file": upload}, "multipart")

    with limits.importing(ada), limits.importing(bob):
        answer = send()
        assert (answer.status_code, answer["Retry-After"]) == (429, "2")
        assert "ada has 1 imports under way, and the limit is 1" in answer.json()["detail"]
    assert send().status_code == 400
    assert not ImportInProgress.objects.exists()


def test_import_slot_of_a_killed_web_process_is_released(ada: User) -> None:
    ImportInProgress.objects.create(user=ada, started_at=timezone.now() - limits.IMPORT_EXPIRES)
    with limits.importing(ada):
        pass
    assert not ImportInProgress.objects.exists()


def test_webhooks_and_their_pending_deliveries_are_limited(
    api: APIClient, ada: User, job: Job, allow: Any, settings: Any
) -> None:
    settings.WEBHOOK_ALLOW_PRIVATE = True
    allow(webhooks=1, pending_deliveries=1)
    body = {"url": "http://127.0.0.1:9/", "events": ["job.cancelled"]}
    assert api.post(f"{API}/webhooks", body, "json").status_code == 201
    answer = api.post(f"{API}/webhooks", body, "json")
    assert (answer.status_code, answer.json()["limit"]) == (409, "webhooks")
    webhook = Webhook.objects.get()
    test = f"{API}/webhooks/{webhook.pk}/test"
    assert api.post(test).status_code == 202
    answer = api.post(test)
    assert (answer.status_code, answer.json()["limit"]) == (409, "pending_deliveries")
    lifecycle.request_cancel(job, "ada")
    refused = Delivery.objects.get(event="job.cancelled")
    assert (refused.status, refused.error) == ("dead", outbox.TOO_MANY_PENDING)
    again = f"{API}/webhooks/{webhook.pk}/deliveries/{refused.pk}/resend"
    assert api.post(again).status_code == 409
    service.disable_webhook(webhook, "test")  # what it has is not counted
    assert limits.has_room(ada.pk, limits.PENDING_DELIVERIES)


def test_slot_is_released_only_once(ada: User, allow: Any) -> None:
    allow(downloads=2)
    first, second = limits.Hold(ada, limits.DOWNLOADS), limits.Hold(ada, limits.DOWNLOADS)
    with pytest.raises(LimitReachedError, match="2 downloads under way, and the limit is 2"):
        limits.Hold(ada, limits.DOWNLOADS)
    first.release()
    first.release()
    with limits.hold(ada, limits.DOWNLOADS), pytest.raises(LimitReachedError):
        limits.Hold(ada, limits.DOWNLOADS)
    second.release()
    assert limits.DOWNLOADS.count(ada.pk) == 0


@pytest.mark.django_db(transaction=True)
def test_concurrent_downloads_are_limited_until_they_end(
    api: APIClient, page: Client, job: Job, running_attempt: Attempt, allow: Any
) -> None:
    gc.collect()  # responses that earlier tests have left open hold places
    path = attempt_log(job.pk, running_attempt.number).path
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 3_000_000)
    allow(downloads=1)
    url = f"{API}/jobs/{job.pk}/logs"
    first = api.get(url)
    answer = api.get(url)
    assert (answer.status_code, answer.json()["limit"]) == (429, "downloads")
    assert api.get(url, HTTP_RANGE="bytes=0-1000").status_code == 206  # small ones do not count
    refused = page.get(f"/jobs/{job.pk}/epochs.csv", follow=True)
    assert "1 downloads under way, and the limit is 1" in refused.content.decode()
    first.close()
    assert api.get(url).status_code == 200


def test_unsent_response_releases_its_download_slot(ada: User) -> None:
    response = count_download(ada, StreamingHttpResponse([b"x"]))
    assert limits.DOWNLOADS.count(ada.pk) == 1
    del response
    gc.collect()
    assert limits.DOWNLOADS.count(ada.pk) == 0


def test_concurrent_predictions_of_a_user_are_limited(
    api: APIClient, ada: User, job: Job, allow: Any, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").touch()
    path = str(tmp_path / "best-1.safetensors")
    model = TrainedModel.objects.create(job=job, checkpoint_path=path, evaluation={})
    body = {"measurements": [{"receiver_id": "A", "rssi_dbm": -60}]}
    allow(predictions=1)
    with limits.hold(ada, limits.PREDICTIONS):
        answer = api.post(f"{API}/models/{model.pk}/predict", body, "json")
    assert (answer.status_code, answer.json()["limit"]) == (429, "predictions")


@pytest.mark.django_db(transaction=True)
def test_event_streams_are_counted_before_they_start(
    api: APIClient, ada: User, job: Job, settings: Any
) -> None:
    limits._stream_overrides.cache_clear()
    LimitOverride.objects.create(user=ada, name="streams", maximum=1)
    url = f"{API}/jobs/{job.pk}/events/stream"
    first = api.get(url)
    answer = api.get(url)
    assert (answer.status_code, answer.json()["limit"]) == (429, "streams")
    first.close()
    assert connections.count_open(ada.pk) == 0
    assert api.get(url).status_code == 200
    limits._stream_overrides.cache_clear()


def test_concurrently_opened_sockets_do_not_exceed_the_limit() -> None:
    def take(_: int) -> connections.Place | None:
        try:
            return connections.Place(7, maximum=3)
        except connections.TooManyConnectionsError:
            return None

    with ThreadPoolExecutor(16) as pool:
        places = [place for place in pool.map(take, range(200)) if place]
    assert (len(places), connections.count_open(7)) == (3, 3)
    for place in places * 2:
        place.release()
    assert connections.count_open(7) == 0


RACES = """
import json, threading, uuid, django
django.setup()
from django.contrib.auth.models import User
from django.db import connection
from django.conf import settings
from training.accounts import limits
from training.accounts.limits import LimitReachedError
from training.jobs import attempts, lifecycle, queue
from training.localization.config import TrainConfig
from training.models import Dataset, Job, Sweep
from training.models.webhooks import Webhook
from training.sweeps import lifecycle as sweeps
from training.sweeps.spec import validate_spec
from training.webhooks import outbox, service

queue.enqueue = lambda *_: None
settings.USER_LIMITS = dict.fromkeys(settings.USER_LIMITS, 3) | {"stored_bytes": 10**12}
ada, bob = User.objects.get(username="ada"), User.objects.get(username="bob")
dataset = Dataset.objects.get()

def race(action, *rows):
    # Ten threads at once; how many of them succeeded.
    barrier, done, errors = threading.Barrier(10), [], []
    def one(number):
        try:
            barrier.wait()
            action(*(row[number] for row in rows))
            done.append(1)
        except LimitReachedError:
            pass
        except Exception as error:
            errors.append(repr(error))
        finally:
            connection.close()
    threads = [threading.Thread(target=one, args=[number]) for number in range(10)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not errors, errors
    return len(done)

def submit():
    lifecycle.submit(ada, dataset, TrainConfig())

found = {"submit": race(submit)}
Job.objects.all().delete()
settings.USER_LIMITS["queued_jobs"] = 100
jobs = [lifecycle.submit(ada, dataset, TrainConfig()) for _ in range(10)]
def claim(job):
    if attempts.claim(job.pk, "worker") is None:
        raise LimitReachedError(limits.RUNNING_JOBS, ada, 3, 3)
found["claim"] = race(claim, jobs)
Job.objects.update(status="paused")
settings.USER_LIMITS["queued_jobs"] = 3
found["resume"] = race(lambda job: lifecycle.resume(job, "ada"), jobs)
spec = validate_spec({"name": "A", "dataset_id": str(dataset.pk), "method": "grid",
                      "space": {"seed": {"values": [1]}}})
found["sweep"] = race(lambda: sweeps.create(ada, dataset, spec))
hook = service.CreateWebhook(url="https://example.org/", events=["job.failed"])
found["webhook"] = race(lambda: service.create_webhook(ada, hook))
first = Webhook.objects.first()
found["test"] = race(lambda: outbox.send_test(Webhook.objects.get(pk=first.pk)))
all_tried = threading.Barrier(10)
def slow_import():
    try:
        with limits.importing(bob):
            all_tried.wait(20)
    except LimitReachedError:
        all_tried.wait(20)
        raise
found["import"] = race(slow_import)
print(json.dumps(found))
"""


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_concurrent_requests_do_not_exceed_a_limit(database: str, tmp_path: Path) -> None:
    if database == "sqlite":
        found = Stack(tmp_path).python("-c", RACES)
    else:
        with new_database() as url:
            if not url:
                pytest.skip("needs PostgreSQL")
            found = Stack(tmp_path, database=url).python("-c", RACES)
    assert json.loads(found.splitlines()[-1]) == {
        "submit": 3, "claim": 3, "resume": 3, "sweep": 3, "webhook": 3, "test": 3, "import": 3
    }  # fmt: skip

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from tests.integration.training.api.test_datasets import TABLES
from training.jobs import attempts, lifecycle, results, status
from training.jobs.attempts import Attempt
from training.jobs.results import Interruption
from training.models import AuditEntry, Dataset, Job
from training.web.actions import JOB_ACTIONS, Action


def snapshot(page: Client, job: Job) -> dict[str, Any]:
    html = page.get(f"/jobs/{job.pk}").content.decode()
    found = re.search(r'<script id="snapshot" type="application/json">(.*?)</script>', html)
    assert found
    return dict(json.loads(found.group(1)))


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/jobs", "/jobs/new", "/datasets"])
def test_anonymous_users_are_redirected_to_login(client: Client, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 302
    assert answer["Location"] == f"/login?next={path}"


def test_empty_job_list_links_to_datasets(page: Client) -> None:
    html = page.get("/jobs").content.decode()
    assert "No jobs yet" in html
    assert "/datasets" in html


def test_jobs_are_listed_and_filtered(page: Client, job: Job) -> None:
    assert "First" in page.get("/jobs").content.decode()
    assert "First" in page.get("/jobs?status=queued&search=fir").content.decode()
    assert "No jobs match these filters" in page.get("/jobs?status=failed").content.decode()


def test_job_page_snapshot_contains_seq_and_columns(
    page: Client, job: Job, running_attempt: Attempt
) -> None:
    attempts.record_epochs(
        running_attempt,
        attempts.EpochReport(1, {"val_loss": 1.0, "val_rmse": 5.0}, 0.1, True, "/c"),
    )
    found = snapshot(page, job)
    assert found["job"]["seq"] == 4
    assert found["columns"]["epoch"] == [1]
    assert found["columns"]["series"]["val_rmse"] == [5.0]


def test_chart_columns_of_a_long_job_are_downsampled(
    page: Client, job: Job, running_attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.web.views.job_page.CHART_POINTS", 12)
    for epoch in range(1, 36):
        attempts.record_epochs(
            running_attempt,
            attempts.EpochReport(epoch, {"val_loss": 1.0, "val_rmse": 5.0}, 0.1, False, "/c"),
        )
    found = snapshot(page, job)["columns"]
    assert len(found["epoch"]) <= 12
    assert (found["epoch"][0], found["epoch"][-1], found["total"]) == (1, 35, 35)


def test_job_page_shows_what_a_queued_job_waits_for(page: Client, job: Job) -> None:
    html = page.get(f"/jobs/{job.pk}").content.decode()
    assert re.search(r'id="waits" data-fragment>.*Waiting: ', html)


def test_job_name_is_escaped(page: Client, job: Job) -> None:
    lifecycle.update_metadata(job, name="</script><b>bold</b>")
    html = page.get(f"/jobs/{job.pk}").content.decode()
    assert "<b>bold" not in html


def test_job_of_another_user_is_404(client: Client, job: Job, bob: User) -> None:
    client.force_login(bob)
    answer = client.get(f"/jobs/{job.pk}")
    assert answer.status_code == 404
    assert "you do not have access" in answer.content.decode()


def test_form_creates_a_job(page: Client, dataset: Dataset) -> None:
    form = page.get("/jobs/new").context["form"]
    values = {name: form[name].initial for name in form.fields}
    answer = page.post("/jobs/new", {**values, "dataset": dataset.pk, "epochs": 7, "name": "Mine"})
    job = Job.objects.get()
    assert answer["Location"] == f"/jobs/{job.pk}"
    assert (job.name, job.config["epochs"]) == ("Mine", 7)


def test_invalid_job_form_shows_errors_and_keeps_input(page: Client, dataset: Dataset) -> None:
    form = page.get("/jobs/new").context["form"]
    values = {name: form[name].initial for name in form.fields}
    wrong = {**values, "dataset": dataset.pk, "epochs": 0, "heads": 3, "name": "Mine"}
    answer = page.post("/jobs/new", wrong)
    assert answer.status_code == 400
    assert "0 is too small; it must be at least 1." in answer.content.decode()
    assert 'value="Mine"' in answer.content.decode()
    answer = page.post("/jobs/new", {**wrong, "epochs": 5})
    assert "3 does not divide the width (hidden = 256)" in answer.content.decode()
    assert not Job.objects.exists()


def test_clone_form_starts_from_the_parents_values(page: Client, job: Job) -> None:
    form = page.get(f"/jobs/new?like={job.pk}").context["form"]
    assert form["epochs"].initial == 5
    assert form["dataset"].initial == job.dataset_id


def test_form_generates_a_dataset(page: Client) -> None:
    form = page.get("/datasets").context["generate_form"]
    values = {name: form[name].initial for name in form.fields if form[name].initial is not None}
    answer = page.post("/datasets", {**values, "name": "Made", "samples": 50, "generate": ""})
    job = Job.objects.get()
    assert answer["Location"] == f"/jobs/{job.pk}"
    assert job.config["samples"] == 50
    assert page.get(f"/jobs/{job.pk}").status_code == 200


def packed(tables: dict[str, str]) -> io.BytesIO:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as pack:
        for table, text in tables.items():
            pack.writestr(table, text)
    made.seek(0)
    made.name = "measured.zip"
    return made


def test_invalid_zip_shows_a_field_error(page: Client) -> None:
    bad = packed({**TABLES, "samples.csv": "sample_id,lat,lon\na,x,7\n"})
    answer = page.post("/datasets", {"name": "Bad", "file": bad, "import": ""})
    assert answer.status_code == 400
    assert "samples.csv line 2: lat &#x27;x&#x27; is not a number." in answer.content.decode()
    assert not Dataset.objects.exists()


def test_import_uses_the_selected_split(page: Client) -> None:
    places = "".join(
        f"s{n},45.{n},7.{n},{'even' if n % 2 == 0 else 'odd'}\n" for n in range(10, 70)
    )
    heard = "".join(f"s{n},hill,-70\n" for n in range(10, 70))
    tables = {**TABLES, "samples.csv": f"sample_id,lat,lon,day\n{places}",
              "measurements.csv": f"sample_id,receiver_id,rssi_dbm\n{heard}"}  # fmt: skip
    sent = {"name": "By day", "import": "", "split_by": "column", "split_column": "night"}
    answer = page.post("/datasets", {**sent, "file": packed(tables)})
    assert answer.status_code == 400
    assert "has no column" in str(answer.context["import_form"].errors)
    answer = page.post("/datasets", {**sent, "file": packed(tables), "split_by": "random"})
    assert answer.status_code == 303
    assert "Random split" in page.get(answer["Location"]).content.decode()


def test_csp_of_pages_allows_only_own_scripts(page: Client, job: Job) -> None:
    for path in ("/jobs", f"/jobs/{job.pk}", "/datasets", "/models"):
        answer = page.get(path)
        policy = answer["Content-Security-Policy"]
        assert "script-src 'self';" in policy
        assert "'unsafe" not in policy
        html = answer.content.decode()
        assert not re.search(r"<script(?![^>]*(src=|application/json))", html), path
        assert " style=" not in html, path


def test_action_buttons_work_without_javascript(page: Client, job: Job) -> None:
    answer = page.post(f"/jobs/{job.pk}/pause")
    assert (answer.status_code, answer["Location"]) == (303, f"/jobs/{job.pk}")
    html = page.post(f"/jobs/{job.pk}/pause", follow=True).content.decode()
    assert "Cannot pause this job: it is paused." in html
    assert "Cancel" in page.get(f"/jobs/{job.pk}/cancel").content.decode()
    assert Job.objects.get().status == "paused"
    page.post(f"/jobs/{job.pk}/cancel")
    assert Job.objects.get().status == "cancelled"


def test_post_without_csrf_token_is_403(ada: User, job: Job) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ada)
    assert strict.post(f"/jobs/{job.pk}/cancel").status_code == 403


def test_failed_job_shows_error_and_resume_epoch(
    page: Client, job: Job, running_attempt: Attempt
) -> None:
    attempts.record_epochs(
        running_attempt,
        attempts.EpochReport(1, {"val_loss": 1.0, "val_rmse": 5.0}, 0.1, True, "/c"),
    )
    results.fail_attempt(running_attempt, "The disk is full.")
    html = page.get(f"/jobs/{job.pk}").content.decode()
    assert "The disk is full." in html
    assert "In epoch 2 of 5, attempt 1" in html
    assert "Resume from epoch 1" in html


def test_job_that_failed_before_its_first_epoch_has_nothing_to_resume_from(
    page: Client, job: Job, running_attempt: Attempt, settings: Any
) -> None:
    message = f"{settings.DATA_DIR}/datasets/x.safetensors is damaged."
    results.fail_attempt(running_attempt, message)
    html = page.get(f"/jobs/{job.pk}").content.decode()
    assert "datasets/x.safetensors is damaged." in html
    assert str(settings.DATA_DIR) not in html
    assert "No epochs completed." in html and "Waiting for the first epoch" not in html
    assert "No checkpoint saved. Resume restarts from epoch 1." in html
    (button,) = re.findall(r'<button type="submit"[^>]*\(P\)"[^>]*>', html)
    assert "primary" not in button


def test_job_without_any_value_is_shown_and_exported(
    page: Client, job: Job, running_attempt: Attempt
) -> None:
    metrics = dict.fromkeys(("val_loss", "val_rmse", "train_loss"))
    for epoch in range(1, 4):
        attempts.record_epochs(
            running_attempt, attempts.EpochReport(epoch, metrics, 0.1, epoch == 1, "/c")
        )
    paths = [f"/jobs/{job.pk}", f"/jobs/{job.pk}/epochs", "/jobs", f"/compare?jobs={job.pk}"]
    assert {page.get(path).status_code for path in paths} == {200}
    for kind in ("csv", "jsonl", "points", "tensorboard", "mlflow"):
        export = page.get(f"/api/v1/training/jobs/{job.pk}/export?format={kind}")
        assert export.status_code == 200 and b"".join(export), kind


def test_trainer_note_is_not_shown_as_an_interruption(
    page: Client, job: Job, running_attempt: Attempt
) -> None:
    attempts.record_note(running_attempt, "worker", "epoch-000003 is damaged.")
    html = page.get(f"/jobs/{job.pk}").content.decode()
    assert "epoch-000003 is damaged." in html
    assert "Interrupted:" not in html


def test_interrupted_job_shows_the_reason(page: Client, job: Job, running_attempt: Attempt) -> None:
    results.requeue_or_fail(running_attempt, "keeper", "crashed", "The worker was lost.")
    html = page.get(f"/jobs/{job.pk}").content.decode()
    assert "Interrupted, waiting for a worker" in html
    assert "The worker was lost." in html


def test_epochs_are_paginated_and_exported_as_csv(
    page: Client, job: Job, running_attempt: Attempt
) -> None:
    for epoch in (1, 2):
        attempts.record_epochs(
            running_attempt,
            attempts.EpochReport(epoch, {"val_loss": 1.0, "val_rmse": 5.0}, 0.1, False, "/c"),
        )
    assert 'data-epoch="2"' in page.get(f"/jobs/{job.pk}/epochs").content.decode()
    assert 'data-epoch="2"' not in page.get(f"/jobs/{job.pk}/epochs?before=2").content.decode()
    answer = page.get(f"/jobs/{job.pk}/epochs.csv")
    lines = answer.getvalue().decode().splitlines()
    assert lines[0] == "epoch,at,seconds,is_best,val_loss,val_rmse"
    assert [line.split(",")[0] for line in lines[1:]] == ["1", "2"]
    (entry,) = AuditEntry.objects.filter(action="download")
    assert (entry.actor, entry.detail) == ("ada", {"export": "csv"})


def test_clone_page_marks_changed_parameters(page: Client, job: Job, dataset: Dataset) -> None:
    form = page.get(f"/jobs/new?like={job.pk}").context["form"]
    values = {name: form[name].initial for name in form.fields if form[name].initial is not None}
    page.post("/jobs/new", {**values, **job.config, "dataset": dataset.pk, "name": "Twin",
                            "like": job.pk, "batch_size": 32})  # fmt: skip
    clone = Job.objects.get(name="Twin")
    assert clone.parent_id == job.pk
    html = page.get(f"/jobs/{clone.pk}").content.decode()
    assert "<del>64</del> 32" in html


def status_of_open_and_fresh_page(page: Client, job: Job) -> tuple[str, str]:
    """What the newest status event gives an open page, and what a reload shows."""
    newest = job.events.filter(event="training:status").latest("seq")
    fresh = page.get(f"/jobs/{job.pk}").context["snapshot"]["state"]
    return newest.data["display_status"], fresh


@pytest.mark.parametrize(
    ("cause", "shown"), [("worker_stopped", "queued"), ("crashed", "interrupted")]
)
def test_open_and_reloaded_page_agree_after_a_job_was_requeued(
    page: Client, job: Job, cause: Interruption, shown: str
) -> None:
    """A worker that receives SIGTERM returns its jobs without a crash."""
    attempt, _ = attempts.claim(job.pk, "worker") or pytest.fail("no claim")
    results.requeue_or_fail(attempt, "worker", cause, "The attempt ended.")
    assert status_of_open_and_fresh_page(page, job) == (shown, shown)


def test_action_on_a_job_deleted_in_the_meantime_reports_it(
    page: Client, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def delete_first(found: Job, actor: str) -> Job:
        Job.objects.filter(pk=found.pk).delete()
        return lifecycle.request_pause(found, actor)

    monkeypatch.setitem(JOB_ACTIONS, "pause", Action(delete_first, "Pause requested."))
    answer = page.post(f"/jobs/{job.pk}/pause", follow=True)
    assert answer.status_code == 404
    assert "It was deleted in the meantime." in answer.content.decode()


def test_open_and_reloaded_page_agree_while_a_pause_is_requested(page: Client, job: Job) -> None:
    attempts.claim(job.pk, "worker")
    lifecycle.request_pause(job, "ada")
    assert status_of_open_and_fresh_page(page, job) == ("pausing", "pausing")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"status": "running", "stop_requested": "", "reason": "claimed"}, "claimed"),
        ({"status": "queued", "stop_requested": "", "reason": "resumed"}, "resumed"),
        ({"status": "running", "stop_requested": "", "reason": "Skipped a checkpoint."}, "note"),
        ({"status": "queued", "stop_requested": "", "reason": "The worker was lost."},
         "interrupted"),
        ({"status": "queued", "stop_requested": ""}, "status"),
        ({"status": "running", "stop_requested": "pause", "reason": "x", "cause": "note"}, "note"),
    ],
)  # fmt: skip
def test_timeline_shows_status_events_with_and_without_a_cause(
    job: Job, data: dict[str, str], kind: str
) -> None:
    job.events.create(
        seq=99, event="training:status", data={**data, "actor": "x"}, at=timezone.now()
    )
    assert status.timeline(job)[0].kind == kind


def test_silence_threshold_follows_the_lease(page: Client, job: Job, settings: Any) -> None:
    settings.LEASE_SECONDS = 60
    snapshot = page.get(f"/jobs/{job.pk}").context["snapshot"]
    assert snapshot["silent_after_seconds"] == 45


@pytest.fixture
def many_datasets(ada: User, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> list[Dataset]:
    """More than a chooser lists; the oldest last."""
    monkeypatch.setattr("training.web.forms.MAX_DATASETS", 5)
    Dataset.objects.bulk_create(
        Dataset(owner=ada, name=f"Set {number}", kind="synthetic", samples=number)
        for number in range(20)
    )
    return list(Dataset.objects.all())


@pytest.mark.parametrize("path", ["/jobs/new", "/sweeps/new"])
def test_chooser_lists_the_newest_datasets_and_the_chosen_one(
    page: Client, many_datasets: list[Dataset], path: str
) -> None:
    def offered(query: str = "") -> list[tuple[str, str]]:
        html = page.get(f"{path}{query}").content.decode()
        select = re.search(r'<select name="dataset".*?</select>', html, re.DOTALL)
        assert select
        return re.findall(r'value="([^"]+)"( selected)?', select.group())

    newest = [str(row.pk) for row in many_datasets[:5]]
    assert [pk for pk, _ in offered()] == newest
    oldest = str(many_datasets[-1].pk)
    chosen = offered(f"?dataset={oldest}")
    assert chosen == [(oldest, " selected"), *((pk, "") for pk in newest)]
    assert "The newest 5 are listed" in page.get(path).content.decode()


def test_form_accepts_a_dataset_that_it_does_not_list(
    page: Client, many_datasets: list[Dataset]
) -> None:
    form = page.get("/jobs/new").context["form"]
    values = {field.name: field.value() for field in form if field.value() is not None}
    answer = page.post("/jobs/new", {**values, "dataset": many_datasets[-1].pk})
    assert answer.status_code == 303
    assert Job.objects.get().dataset == many_datasets[-1]


@pytest.mark.usefixtures("no_rate_limits")
def test_queries_of_the_new_job_form_do_not_grow_with_the_datasets(
    page: Client, ada: User, dataset: Dataset
) -> None:
    page.get("/jobs/new")
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            page.get("/jobs/new")
        counts.append(len(queries))
        Dataset.objects.bulk_create(
            Dataset(owner=ada, name="Repeated", kind="synthetic") for _ in range(300)
        )
    assert counts[0] == counts[1]


def test_datasets_are_found_by_name(page: Client, many_datasets: list[Dataset]) -> None:
    shown = page.get("/datasets?search=set+1").context["rows"]
    assert {row.name for row, _ in shown} == {"Set 1", *(f"Set {n}" for n in range(10, 20))}
    assert "No dataset" in page.get("/datasets?search=nothing").content.decode()

"""The pages of sweeps, complete without a script."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.integration.training.sweeps.test_scheduler import begin, train
from training.models import Dataset, Job, Sweep
from training.models.webhooks import Delivery, Webhook
from training.sweeps import scheduler


def filled(dataset: Dataset, page: Client, **more: str) -> dict[str, Any]:
    """The form as it is drawn, with this typed in."""
    form = page.get("/sweeps/new").context["form"]
    sent = {
        field.name: value
        for field in form
        if (value := field.value()) is not None and value is not False
    }
    return {**sent, "dataset": str(dataset.pk), "name": "Typed", **more}


def test_empty_sweep_list_links_to_datasets(page: Client) -> None:
    assert "No sweeps yet. First generate" in page.get("/sweeps").content.decode()


def test_form_creates_a_sweep(page: Client, dataset: Dataset) -> None:
    assert "New sweep" in page.get("/sweeps").content.decode()
    typed = {"vary_learning_rate": "0.001 to 0.1 log", "vary_hidden": "16, 32", "trials": "4"}
    answer = page.post("/sweeps/new", filled(dataset, page, **typed, base_epochs="7"))
    sweep = Sweep.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, f"/sweeps/{sweep.pk}")
    assert sweep.space == {
        "learning_rate": {"min": 0.001, "max": 0.1, "log": True},
        "hidden": {"values": [16, 32]},
    }
    assert (sweep.total_trials, sweep.started_trials) == (4, 2)
    assert {trial.config["epochs"] for trial in Job.objects.all()} == {7}
    again = page.get(f"/sweeps/new?like={sweep.pk}").content.decode()
    assert 'value="0.001 to 0.1 log"' in again
    like = page.get(f"/sweeps/new?like={Job.objects.all()[0].pk}")
    assert like.context["form"].initial["base_epochs"] == 7


def test_form_varies_parameters_of_the_training_only(page: Client, dataset: Dataset) -> None:
    varied = {name for name in page.get("/sweeps/new").context["form"].fields if "vary_" in name}
    assert "vary_learning_rate" in varied
    assert not varied & {"vary_priority", "vary_needs", "vary_processes"}


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({}, "search space is empty"),
        ({"vary_hidden": "wide"}, "&#x27;wide&#x27; is not a whole number."),
        ({"vary_hidden": "64 to 32"}, "&quot;min&quot; (64) must be less than"),
        ({"vary_learning_rate": "1e-4 - 1e-2"}, "Write, for example, 16, 32, 64 or 0.0001 to 0.1"),
        ({"vary_learning_rate": "0,1"}, "can mean 0.1 or the values 0 and 1"),
        ({"vary_hidden": "32", "base_epochs": "0"}, "0 is too small; it must be at least 1."),
    ],
)
def test_invalid_sweep_field_shows_its_error(
    page: Client, dataset: Dataset, typed: dict[str, str], sentence: str
) -> None:
    answer = page.post("/sweeps/new", filled(dataset, page, **typed))
    assert answer.status_code == 400
    assert sentence in answer.content.decode()
    assert not Sweep.objects.exists()


def test_sweep_page_marks_the_best_trial(page: Client, ada: User, dataset: Dataset) -> None:
    sweep = begin(ada, dataset)
    train(sweep, 1, [3.0, 2.0])
    train(sweep, 2, [3.0, 1.5])
    drawn = page.get(f"/sweeps/{sweep.pk}").content.decode()
    assert '<span class="winner">1.500</span>' in drawn
    assert drawn.count('class="best"') == 1
    assert "0 of 4 trials finished" in drawn
    assert '<th scope="col" class="number">Learning rate</th>' in drawn
    assert 'class="line c1"' in drawn
    assert f"/compare?jobs={sweep.jobs.get(trial=1).pk}," in drawn
    listed = page.get("/sweeps").content.decode()
    assert "0 / 4" in listed
    assert f"/sweeps/{sweep.pk}" in page.get(f"/jobs/{sweep.jobs.get(trial=1).pk}").content.decode()


@pytest.mark.parametrize(
    ("status", "sentence"),
    [("running", "Waiting for the first epoch"), ("paused", "Waiting for the first epoch"),
     ("failed", "No epochs completed."), ("cancelled", "No epochs completed.")],
)  # fmt: skip
def test_sweep_without_epochs_waits_for_one_only_while_it_runs(
    page: Client, ada: User, dataset: Dataset, status: str, sentence: str
) -> None:
    sweep = begin(ada, dataset)
    Sweep.objects.update(status=status)
    assert sentence in page.get(f"/sweeps/{sweep.pk}").content.decode()


@pytest.mark.usefixtures("no_rate_limits")
def test_sweep_page_query_count_is_independent_of_trials(
    page: Client, ada: User, dataset: Dataset
) -> None:
    space = {"learning_rate": {"min": 0.001, "max": 0.1}}
    counts = set()
    for trials in (9, 30):
        sweep = begin(ada, dataset, method="random", space=space, trials=trials, max_parallel=30)
        with CaptureQueriesContext(connection) as queries:
            page.get(f"/sweeps/{sweep.pk}")
        counts.add(len(queries))
    assert len(counts) == 1


def test_page_of_a_sweep_of_a_thousand_trials_shows_them_in_pages(
    page: Client, ada: User, dataset: Dataset
) -> None:
    space = {"learning_rate": {"min": 0.001, "max": 0.1}}
    sweep = begin(ada, dataset, method="random", space=space, trials=1000, max_parallel=1)
    first = sweep.jobs.get()
    Job.objects.bulk_create(
        Job(
            owner=ada, dataset=dataset, sweep=sweep, trial=trial, config=first.config,
            status="completed", current_epoch=1 + trial % 90, total_epochs=90, best_epoch=1,
            best_value=1 / trial, headline_value=1 / trial, objective_metric="val_loss",
            objective_direction="minimize", updated_at=first.updated_at,
        )
        for trial in range(2, 1001)
    )  # fmt: skip
    with CaptureQueriesContext(connection) as queries:
        shown = page.get(f"/sweeps/{sweep.pk}")
    assert shown.status_code == 200
    assert max(len(query["sql"]) for query in queries) < 40_000
    html = shown.content.decode()
    assert "Trials 1 to 50 of 1000" in html
    assert len(html) < 150_000
    last = page.get(f"/sweeps/{sweep.pk}", {"page": "20"}).content.decode()
    assert 'data-trial="1000" class="best"' in last


def test_forms_pause_resume_and_cancel_a_sweep(page: Client, ada: User, dataset: Dataset) -> None:
    sweep = begin(ada, dataset)
    for action, status in [("pause", "paused"), ("resume", "running")]:
        answer = page.post(f"/sweeps/{sweep.pk}/{action}")
        assert answer.status_code == 303
        assert Sweep.objects.get().status == status
    assert "Cancel “Rates”?" in page.get(f"/sweeps/{sweep.pk}/cancel").content.decode()
    page.post(f"/sweeps/{sweep.pk}/cancel")
    assert Sweep.objects.get().status == "cancelled"
    html = page.post(f"/sweeps/{sweep.pk}/pause", follow=True).content.decode()
    assert "Cannot pause this sweep: it is cancelled." in html


def test_sweep_of_another_user_is_404(
    client: Client, ada: User, bob: User, dataset: Dataset
) -> None:
    sweep = begin(ada, dataset)
    client.force_login(bob)
    assert client.get(f"/sweeps/{sweep.pk}").status_code == 404
    assert client.post(f"/sweeps/{sweep.pk}/cancel").status_code == 404


def test_admin_lists_and_pauses_sweeps(
    client: Client, ada: User, staff: User, dataset: Dataset
) -> None:
    sweep = begin(ada, dataset)
    webhook = Webhook.objects.create(owner=ada, url="https://example.org/", events=["job.failed"])
    delivery = Delivery.objects.create(
        webhook=webhook, event="job.failed", body="{}", status="dead", error="It said no."
    )
    client.force_login(staff)
    for path in (f"sweep/{sweep.pk}/change/", f"webhook/{webhook.pk}/change/", "webhook/",
                 f"delivery/{delivery.pk}/change/"):  # fmt: skip
        shown = client.get(f"/admin/training/{path}")
        assert shown.status_code == 200
        assert webhook.secret not in shown.content.decode()
    assert "It said no." in client.get("/admin/training/delivery/").content.decode()
    chosen = {"action": "cancel", "_selected_action": [str(sweep.pk)]}
    client.post("/admin/training/sweep/", chosen)
    assert Sweep.objects.get().status == "cancelled"
    chosen = {"action": "resend", "_selected_action": [str(delivery.pk)]}
    client.post("/admin/training/delivery/", chosen)
    assert Delivery.objects.get().status == "pending"


def test_trial_is_not_stopped_after_its_last_epoch(ada: User, dataset: Dataset) -> None:
    """It was cancelled at 50 / 50, without an evaluation and a model."""
    rule = {"rule": "median", "warmup_epochs": 1, "min_trials": 1}
    sweep = begin(ada, dataset, early_stopping=rule, config={"epochs": 3}, max_parallel=3)
    train(sweep, 1, [1.0, 1.0, 1.0])
    train(sweep, 2, [3.0, 3.0, 3.0])
    train(sweep, 3, [3.0, 3.0])
    scheduler.advance_sweep(sweep.pk)
    stops = {trial.trial: trial.stop_requested for trial in sweep.jobs.all()}
    assert (stops[2], stops[3]) == ("", "cancel")


def test_trial_that_completed_before_it_was_stopped_is_not_counted_as_stopped(
    page: Client, ada: User, dataset: Dataset
) -> None:
    sweep = begin(ada, dataset)
    train(sweep, 1, [1.0])
    sweep.jobs.filter(trial=1).update(status="completed", cancel_reason="too late")
    html = page.get(f"/sweeps/{sweep.pk}").content.decode()
    assert "stopped early" not in html
    assert "too late" not in html


def test_trials_are_read_without_the_columns_that_they_do_not_need(
    page: Client, ada: User, dataset: Dataset
) -> None:
    sweep = begin(ada, dataset)
    with CaptureQueriesContext(connection) as queries:
        page.get(f"/sweeps/{sweep.pk}")
    listed = [
        query["sql"] for query in queries if 'ORDER BY "training_job"."trial"' in query["sql"]
    ]
    assert len(listed) == 1
    assert "summary" not in listed[0] and "facts" not in listed[0]

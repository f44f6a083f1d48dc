"""The sweeps' pages, as HTML: whole without a script."""

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
    assert {one.config["epochs"] for one in Job.objects.all()} == {7}
    again = page.get(f"/sweeps/new?like={sweep.pk}").content.decode()
    assert 'value="0.001 to 0.1 log"' in again
    like = page.get(f"/sweeps/new?like={Job.objects.all()[0].pk}")
    assert like.context["form"].initial["base_epochs"] == 7


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({}, "search space is empty"),
        ({"vary_hidden": "wide"}, "&#x27;wide&#x27; is not a whole number."),
        ({"vary_hidden": "8 to 4"}, "&quot;min&quot; (8) must be less than"),
        ({"vary_hidden": "32", "base_epochs": "0"}, "greater than or equal to 1"),
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


def test_sweep_page_query_count_is_independent_of_trials(
    page: Client, ada: User, dataset: Dataset
) -> None:
    space = {"learning_rate": {"min": 0.001, "max": 0.1}}
    counts = set()
    for trials in (9, 30):
        sweep = begin(ada, dataset, method="random", space=space, trials=trials, max_parallel=30)
        with CaptureQueriesContext(connection) as asked:
            page.get(f"/sweeps/{sweep.pk}")
        counts.add(len(asked))
    assert len(counts) == 1


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

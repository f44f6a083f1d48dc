"""Sharing with a team on pages."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from tests.integration.training.api.test_datasets import TABLES
from tests.integration.training.sweeps.test_scheduler import begin
from tests.integration.training.web.test_views import packed
from training.jobs import lifecycle
from training.jobs.directories import attempt_directory
from training.localization.config import TrainConfig
from training.models import Dataset, Job, Sweep


@pytest.fixture
def lab(ada: User, bob: User) -> Group:
    found = Group.objects.create(name="Lab")
    found.user_set.add(ada, bob)
    return found


@pytest.fixture
def theirs(bob: User) -> Client:
    client = Client()
    client.force_login(bob)
    return client


def sent(form: Any) -> dict[str, Any]:
    values = {name: form[name].initial for name in form.fields}
    return {name: value for name, value in values.items() if value is not None}


def test_page_of_a_shared_trial_links_no_sweep_that_the_team_cannot_open(
    page: Client, theirs: Client, ada: User, lab: Group, dataset: Dataset
) -> None:
    sweep = begin(ada, dataset)
    trial = sweep.jobs.get(trial=1)
    Job.objects.filter(pk=trial.pk).update(team=lab)
    link = f'href="/sweeps/{sweep.pk}"'
    assert link in page.get(f"/jobs/{trial.pk}").content.decode()
    shown = theirs.get(f"/jobs/{trial.pk}").content.decode()
    assert "trial 1 of Rates" in shown and link not in shown
    assert f'href="/datasets/{dataset.pk}"' not in shown


def test_page_of_a_shared_sweep_links_no_dataset_that_the_team_cannot_open(
    page: Client, theirs: Client, ada: User, lab: Group, dataset: Dataset
) -> None:
    sweep = begin(ada, dataset)
    Sweep.objects.filter(pk=sweep.pk).update(team=lab)
    link = f'href="/datasets/{dataset.pk}"'
    assert link in page.get(f"/sweeps/{sweep.pk}").content.decode()
    shown = theirs.get(f"/sweeps/{sweep.pk}").content.decode()
    assert f"on {dataset.name}" in shown and link not in shown


def test_page_of_a_shared_clone_shows_no_job_that_the_team_cannot_view(
    page: Client, theirs: Client, ada: User, lab: Group, dataset: Dataset
) -> None:
    source = lifecycle.submit(ada, dataset, TrainConfig(epochs=71), "Confidential")
    clone = lifecycle.submit(
        ada,
        dataset,
        TrainConfig(epochs=5),
        "Clone",
        parent=source,
        team=lab,
        init_from=str(attempt_directory(source.pk, 1) / "epoch-000001.safetensors"),
    )
    own = page.get(f"/jobs/{clone.pk}").content.decode()
    link = f'<a href="/jobs/{source.pk}">Confidential</a>'
    assert f"cloned from {link}" in own and f"starts from {link}" in own
    assert "changes from Confidential" in own and "<del>71</del>" in own
    shown = theirs.get(f"/jobs/{clone.pk}").content.decode()
    assert "Confidential" not in shown and "<del>" not in shown
    lifecycle.update_metadata(source, team=lab)
    shared = theirs.get(f"/jobs/{clone.pk}").content.decode()
    assert f"cloned from {link}" in shared and "<del>71</del>" in shared


def test_owner_shares_a_sweep_with_its_trials(
    page: Client, theirs: Client, ada: User, lab: Group, dataset: Dataset
) -> None:
    sweep = begin(ada, dataset)
    assert "Rates" not in theirs.get("/sweeps").content.decode()
    assert page.post(f"/sweeps/{sweep.pk}/share", {"team": "Lab"}).status_code == 303
    assert "shared with Lab" in theirs.get("/sweeps").content.decode()
    assert "shared with <b>Lab</b>" in theirs.get(f"/sweeps/{sweep.pk}").content.decode()
    assert f'href="/sweeps/{sweep.pk}"' in theirs.get("/jobs").content.decode()
    trial = sweep.jobs.get(trial=1)
    assert theirs.get(f"/jobs/{trial.pk}").status_code == 200
    assert theirs.post(f"/sweeps/{sweep.pk}/share", {"team": ""}).status_code == 403
    page.post(f"/sweeps/{sweep.pk}/share", {"team": ""})
    assert theirs.get(f"/sweeps/{sweep.pk}").status_code == 404
    assert theirs.get(f"/jobs/{trial.pk}").status_code == 404


def test_form_shares_a_new_sweep(page: Client, ada: User, lab: Group, dataset: Dataset) -> None:
    form = page.get("/sweeps/new").context["form"]
    values = {**sent(form), "name": "Shared", "dataset": dataset.pk, "team": lab.pk}
    answer = page.post("/sweeps/new", {**values, "vary_learning_rate": "0.001, 0.01"})
    assert answer.status_code == 303, answer.context["form"].errors
    sweep = Sweep.objects.get()
    assert sweep.team == lab
    assert {job.team for job in sweep.jobs.all()} == {lab}
    assert page.get(f"/sweeps/new?like={sweep.pk}").context["form"]["team"].value() == lab.pk


def test_owner_shares_job_and_dataset_with_team(
    page: Client, theirs: Client, ada: User, lab: Group, dataset: Dataset
) -> None:
    job = lifecycle.submit(ada, dataset, TrainConfig(), "First")
    addresses = [f"/jobs/{job.pk}", f"/datasets/{dataset.pk}"]
    for address in addresses:
        assert theirs.get(address).status_code == 404
        assert page.post(f"{address}/share", {"team": "Lab"})["Location"] == address
        assert "Shared with Lab." in page.get(address).content.decode()
        html = theirs.get(address).content.decode()
        assert "shared with <b>Lab</b>" in html
        assert f"{address}/share" not in html
        assert theirs.post(f"{address}/share", {"team": ""}).status_code == 403
    for listed in ("/jobs", "/datasets"):
        assert "ada, shared with Lab" in theirs.get(listed).content.decode()
    assert page.post(f"{addresses[0]}/share", {"team": "Unknown"}).status_code == 303
    assert "You do not belong to a team named" in page.get(addresses[0]).content.decode()
    refused = page.post(f"{addresses[0]}/share", {"team": "a\0b"}, follow=True)
    assert "contains the control character U+0000" in refused.content.decode()
    for address in addresses:
        page.post(f"{address}/share", {"team": ""})
        assert theirs.get(address).status_code == 404


def test_create_forms_share_with_the_selected_team(
    page: Client, lab: Group, dataset: Dataset
) -> None:
    form = page.get("/jobs/new").context["form"]
    page.post("/jobs/new", {**sent(form), "dataset": dataset.pk, "team": lab.pk})
    job = Job.objects.get()
    assert job.team == lab
    assert page.get(f"/jobs/new?like={job.pk}").context["form"]["team"].initial == lab.pk
    form = page.get("/datasets").context["generate_form"]
    page.post("/datasets", {**sent(form), "name": "Made", "team": lab.pk, "generate": ""})
    page.post("/datasets", {"name": "Measured", "file": packed(TABLES), "team": lab.pk,
                            "import": ""})  # fmt: skip
    for name in ("Made", "Measured"):
        assert Dataset.objects.get(name=name).team == lab
    assert Job.objects.get(kind=Job.Kind.GENERATION).team == lab


def test_users_without_team_see_no_share_field(page: Client, dataset: Dataset) -> None:
    Group.objects.create(name="Others")
    for address in ("/jobs/new", "/datasets", f"/datasets/{dataset.pk}"):
        assert "Share with" not in page.get(address).content.decode()

"""What is shared with a team, as the pages say and set it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from tests.integration.training.api.test_datasets import TABLES
from tests.integration.training.web.test_views import packed
from training.jobs import lifecycle
from training.localization.config import TrainConfig
from training.models import Dataset, Job


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

"""The pages of projects."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from tests.integration.training.web.test_programs import MANIFEST, report
from training.jobs import lifecycle
from training.jobs.projects import create_project
from training.localization.config import TrainConfig
from training.models import Dataset, Job, Project
from training.programs.registry import get_program


@pytest.fixture(autouse=True)
def digits(tmp_path: Path, settings: Settings) -> None:
    settings.PROGRAMS_DIR = tmp_path
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "program.toml").write_text(MANIFEST)


@pytest.fixture
def project(ada: User, dataset: Dataset) -> Project:
    """A job of the localizer, and two of another program that have a result."""
    project = create_project(ada, "Vision", "Finds digits.")
    lifecycle.submit(ada, dataset, TrainConfig(), "Local", project=project)
    for name, accuracy in (("Better", 0.75), ("Worse", 0.5)):
        parameters = get_program("digits").parameters(epochs=3)
        job = lifecycle.submit(ada, None, parameters, name, program="digits", project=project)
        report(job, 1, val_accuracy=accuracy)
    return project


def test_projects_are_listed_with_the_number_of_jobs(
    page: Client, project: Project, job: Job
) -> None:
    html = page.get("/projects").content.decode()
    assert "Finds digits." in html
    assert f'href="/jobs?project={project.pk}">3<span class="sr"> jobs of Vision</span></a>' in html
    assert "Default" in html


def test_page_of_a_project_shows_counts_and_the_best_of_each_program(
    page: Client, project: Project
) -> None:
    answer = page.get(f"/projects/{project.pk}")
    assert answer.context["counts"] == [("queued", "Queued", 1), ("running", "Running", 2)]
    best = {row.name: row.best and row.best.name for row in answer.context["programs"]}
    assert best == {"digits": "Better", "localizer": None}
    html = answer.content.decode()
    assert "0.7500" in html
    assert "Finds digits." in html


@pytest.mark.usefixtures("no_rate_limits")
def test_query_count_of_a_project_does_not_grow(
    page: Client, ada: User, project: Project, dataset: Dataset
) -> None:
    def count() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            page.get(f"/projects/{project.pk}")
            page.get("/projects")
        return len(queries)

    page.get("/projects")
    before = count()
    for index in range(12):
        more = create_project(ada, f"Project {index}")
        lifecycle.submit(ada, dataset, TrainConfig(), f"Job {index}", project=more)
        lifecycle.submit(ada, dataset, TrainConfig(), f"Job {index}", project=project)
    assert count() == before


def test_project_is_created_changed_and_deleted(page: Client, ada: User, dataset: Dataset) -> None:
    answer = page.post("/projects/new", {"name": "Radio", "description": "First"})
    project = Project.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, f"/projects/{project.pk}")
    lifecycle.submit(ada, dataset, TrainConfig(), "Kept", project=project)
    page.post(f"/projects/{project.pk}/edit", {"name": "Waves", "description": ""})
    project.refresh_from_db()
    assert (project.name, project.description) == ("Waves", "")
    assert "Its 1 job is kept" in page.get(f"/projects/{project.pk}/delete").content.decode()
    answer = page.post(f"/projects/{project.pk}/delete")
    assert answer["Location"] == "/projects"
    assert not Project.objects.exists()
    assert Job.objects.get().project is None


def test_taken_or_empty_name_is_shown_at_its_field(page: Client, project: Project) -> None:
    answer = page.post("/projects/new", {"name": "Vision"})
    assert answer.status_code == 400
    assert "You already have a project named &#x27;Vision&#x27;" in answer.content.decode()
    assert page.post("/projects/new", {"name": " "}).status_code == 400
    other = Project.objects.create(owner=project.owner, name="Other")
    answer = page.post(f"/projects/{other.pk}/edit", {"name": "Vision"})
    assert answer.status_code == 400
    assert "Edit “Other”" in answer.content.decode()


def test_team_sees_a_project_and_only_its_owner_changes_it(
    client: Client, ada: User, bob: User, project: Project
) -> None:
    client.force_login(bob)
    paths = [f"/projects/{project.pk}{path}" for path in ("", "/edit", "/delete")]
    assert [client.get(path).status_code for path in paths] == [404, 404, 404]
    team = Group.objects.create(name="lab")
    ada.groups.add(team)
    bob.groups.add(team)
    client.force_login(ada)
    client.post(f"/projects/{project.pk}/edit", {"name": "Vision", "team": team.pk})
    client.force_login(bob)
    assert [client.get(path).status_code for path in paths] == [200, 403, 403]
    html = client.get(paths[0]).content.decode()
    assert "shared with <b>lab</b>" in html
    assert "/edit" not in html
    assert Job.objects.filter(project=project).count() == 3
    assert client.get(paths[0]).context["total"] == 0


def test_job_page_links_to_its_project(page: Client, project: Project) -> None:
    job = Job.objects.filter(project=project)[0]
    assert f'href="/projects/{project.pk}"' in page.get(f"/jobs/{job.pk}").content.decode()


def test_new_job_form_starts_with_the_project(page: Client, project: Project) -> None:
    assert 'value="Vision"' in page.get("/jobs/new?project=Vision").content.decode()


@pytest.mark.parametrize("path", ["/jobs/new", "/admin/training/job/add/"])
def test_unknown_id_of_a_project_is_an_error_of_its_field(
    page: Client, ada: User, dataset: Dataset, path: str
) -> None:
    User.objects.filter(pk=ada.pk).update(is_staff=True, is_superuser=True)
    form = page.get(path).context["form"]
    values = {field.name: field.value() for field in form if field.value() is not None}
    unknown = str(uuid4())
    typed = {**values, "dataset": dataset.pk, "project": unknown, "notes": "Typed before"}
    answer = page.post(path, typed)
    assert answer.status_code == 400
    assert answer.context["form"].errors == {
        "project": [f"Project {unknown} does not exist, or you cannot use it."]
    }
    html = answer.content.decode()
    assert "you cannot use it." in html and "Typed before" in html
    assert not Job.objects.exists()

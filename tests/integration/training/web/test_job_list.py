"""The list of jobs: mixed programs, filters, order, columns, folded sweeps."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries, Settings

from tests.integration.training.web.test_programs import MANIFEST, report
from training.jobs import lifecycle
from training.jobs.projects import create_project
from training.localization.config import TrainConfig
from training.models import Dataset, Job, Sweep
from training.programs.registry import get_program


@pytest.fixture
def digits(tmp_path: Path, settings: Settings) -> None:
    settings.PROGRAMS_DIR = tmp_path
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "program.toml").write_text(MANIFEST)


@pytest.fixture
def digits_job(ada: User, digits: None) -> Job:
    parameters = get_program("digits").parameters(epochs=3, optimizer="sgd")
    return lifecycle.submit(ada, None, parameters, "Digits", program="digits")


def headings(html: str) -> list[str]:
    return [
        re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<th[^>]*>(.*?)</th>", html)
    ]


def test_list_of_one_program_has_its_headings(page: Client, digits_job: Job) -> None:
    report(digits_job, 1, val_accuracy=0.5)
    html = page.get("/jobs").content.decode()
    assert "Validation accuracy (best epoch)" in headings(html)
    assert "Validation accuracy trend" in headings(html)
    assert "metric-name" not in html


def test_list_of_several_programs_names_the_metric_at_each_value(
    page: Client, digits_job: Job, job: Job
) -> None:
    report(digits_job, 1, val_accuracy=0.5)
    report(job, 1, val_loss=2.0, val_rmse=300.0)
    html = page.get("/jobs").content.decode()
    assert "Best result" in headings(html)
    assert "Trend" in headings(html)
    for label in ("Validation accuracy", "RMSE"):
        assert re.search(rf'<small class="metric-name">[^<]*{label}</small>', html), label


def test_list_of_the_default_program_is_unchanged(page: Client, job: Job) -> None:
    report(job, 1, val_loss=2.0, val_rmse=300.0)
    html = page.get("/jobs").content.decode()
    assert "RMSE (best epoch)" in headings(html)
    assert "metric-name" not in html


def test_trend_of_a_metric_with_any_name_is_drawn(page: Client, ada: User, digits: None) -> None:
    """A double underscore is a lookup in Django's field paths."""
    job = Job.objects.create(
        owner=ada, reported=True, program="reported", objective_metric="val__loss/all",
        current_epoch=2, updated_at="2026-01-01T00:00Z",
    )  # fmt: skip
    for epoch in (1, 2):
        job.epochs.create(epoch=epoch, metrics={"val__loss/all": 1 / epoch}, seconds=1, attempt=1,
                          at="2026-01-01T00:00Z")  # fmt: skip
    html = page.get("/jobs").content.decode()
    assert 'data-values="1,0.5"' in html


def names(page: Client, query: str = "") -> list[str]:
    answer = page.get(f"/jobs{query}")
    assert answer.status_code == 200, answer.content.decode()
    return [str(row.sweep.sweep if row.sweep else row.job) for row in answer.context["rows"]]


def walk(page: Client, url: str, way: str = "next") -> list[list[str]]:
    """The names on every page from there on."""
    pages = []
    while url:
        context = page.get(f"/jobs{url}").context
        pages.append([row.job.name for row in context["rows"]])
        url = context[way]
    return pages


@pytest.fixture
def many(ada: User, dataset: Dataset) -> list[Job]:
    """Every fourth has no result and did not start."""
    states = ("completed", "failed", "queued")
    return [
        Job.objects.create(
            owner=ada, dataset=dataset, name=f"Job {index:02}", status=states[index % 3],
            objective_metric="val_loss", current_epoch=7 * index % 5,
            headline_value=None if index % 4 == 3 else float(index * 7 % 11),
            updated_at="2026-01-01T00:00Z",
            started_at=None if index % 4 == 3 else "2026-01-01T00:00Z",
            finished_at=f"2026-01-01T00:{index * 5 % 13:02}:00.123456Z",
        )
        for index in range(11)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "ordering",
    ["", "created_at", "name", "-name", "status", "-status", "best_result", "current_epoch",
     "-current_epoch", "duration"],
)  # fmt: skip
def test_pages_in_any_order_add_up_to_the_whole_list(
    page: Client, many: list[Job], ordering: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = walk(page, f"?ordering={ordering}")
    assert len(everything) == 1
    assert len(set(everything[0])) == len(many)
    monkeypatch.setattr("training.web.views.job_list.PAGE", 2)
    pages = walk(page, f"?ordering={ordering}")
    assert [name for one in pages for name in one] == everything[0]
    last = page.get(f"/jobs?ordering={ordering}")
    while last.context["next"]:
        last = page.get(f"/jobs{last.context['next']}")
    back = walk(page, last.context["previous"], "previous")
    assert back[::-1] == pages[:-1]


SORTED: dict[str, Callable[[Job], Any]] = {
    "best_result": lambda job: job.headline_value,
    "current_epoch": lambda job: job.current_epoch,
    "name": lambda job: job.name,
    "status": lambda job: (job.status, job.created_at),
}


@pytest.mark.parametrize("ordering", SORTED)
def test_list_is_sorted_by_the_column(page: Client, many: list[Job], ordering: str) -> None:
    rows = page.get(f"/jobs?ordering=-{ordering}").context["rows"]
    values = [SORTED[ordering](row.job) for row in rows]
    assert values == sorted(values, reverse=True)


@pytest.mark.parametrize("ordering", ["-best_result", "-duration"])
def test_descending_order_leaves_out_jobs_without_a_value(
    page: Client, many: list[Job], ordering: str
) -> None:
    found = names(page, f"?ordering={ordering}")
    assert len(found) == 9
    assert "Job 03" not in found


@pytest.mark.parametrize(
    ("query", "field", "sentence"),
    [
        ("?status=done", "status", "&#x27;done&#x27; is not one of queued, running"),
        ("?ordering=seq", "ordering", "&#x27;seq&#x27; is not one of created_at"),
        ("?cursor=abc", "cursor", "Invalid cursor"),
        ("?sweep=5", "sweep", "&#x27;5&#x27; is not the ID of a sweep."),
        ("?param.hiden=5", "param.hiden", "did you mean &#x27;hidden&#x27;?"),
        ("?metric.val_loss__lt=low", "metric.val_loss__lt", "is not a finite number"),
        ("?where=&value=5", "where", "Name the parameter or metric"),
        ("?where=hidden&value=", "value", "Enter the value that hidden is compared with."),
        ("?where=hidden&is=__lt&value=5", "is", "parameters are compared with"),
    ],
)
def test_invalid_query_is_answered_with_a_sentence(
    page: Client, job: Job, query: str, field: str, sentence: str
) -> None:
    answer = page.get(f"/jobs{query}")
    assert answer.status_code == 400
    assert list(answer.context["problems"]) == [field]
    assert sentence in answer.content.decode()
    assert "Clear filters" in answer.content.decode()


def test_list_is_filtered_by_project_program_tag_and_owner(
    page: Client, ada: User, job: Job, digits_job: Job
) -> None:
    project = create_project(ada, "Vision")
    Job.objects.filter(pk=digits_job.pk).update(project=project, tags=["night", "a&b"])
    assert names(page, f"?project={project.pk}") == ["Digits"]
    assert names(page, "?project=Vision") == ["Digits"]
    assert names(page, "?project=Default") == ["First"]
    assert names(page, "?program=localizer") == ["First"]
    assert names(page, "?tag=night&tag=a%26b") == ["Digits"]
    assert names(page, "?owner=ada&status=queued") == ["Digits", "First"]
    assert names(page, "?owner=bob") == []
    html = page.get(f"/jobs?project={project.pk}&tag=night").content.decode()
    assert "Project: Vision" in html
    assert 'href="?tag=night"' in html
    assert 'href="/jobs?tag=a%26b"' in html


def test_list_is_filtered_by_parameters_and_metrics(
    page: Client, job: Job, digits_job: Job
) -> None:
    Job.objects.filter(pk=digits_job.pk).update(summary={"val_accuracy": 0.5, "val/loss": 2.0})
    assert names(page, "?param.optimizer=sgd") == ["Digits"]
    assert names(page, "?metric.val_accuracy__gt=0.4&metric.val%2Floss=2") == ["Digits"]
    assert names(page, "?metric.val_accuracy__gt=0.6") == []
    html = page.get("/jobs?metric.val%2Floss__lt=3").content.decode()
    assert "val/loss &lt; 3" in html


@pytest.mark.parametrize(
    ("typed", "canonical"),
    [
        ("where=optimizer&is=&value=sgd", "?status=queued&param.optimizer=sgd"),
        ("where=val/loss&is=__lt&value=2", "?status=queued&metric.val%2Floss__lt=2"),
        ("where=metric.a&is=&value=+2+", "?status=queued&metric.a=2"),
        ("where=lr&is=&value=0.1", "?status=queued&param.lr=0.1"),
        ("where=lr&is=__lt&value=0.1", "?status=queued&metric.lr__lt=0.1"),
        ("where=&is=&value=&project=", "?status=queued"),
    ],
)
@pytest.mark.usefixtures("digits")
def test_filter_form_redirects_to_the_query_string(
    page: Client, typed: str, canonical: str
) -> None:
    answer = page.get(f"/jobs?status=queued&{typed}")
    assert (answer.status_code, answer["Location"]) == (302, canonical)


def test_filters_are_kept_by_links_to_other_pages_and_orders(
    page: Client, many: list[Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.web.views.job_list.PAGE", 2)
    context = page.get("/jobs?search=Job&owner=ada&columns=owner&columns=param.hidden").context
    for url in (context["next"], context["sort"]["name"].url, context["all_url"]):
        for part in ("search=Job", "owner=ada", "columns=owner&columns=param.hidden"):
            assert part in url


def test_chosen_columns_show_parameters_metrics_and_facts(
    page: Client, job: Job, digits_job: Job
) -> None:
    Job.objects.filter(pk=digits_job.pk).update(summary={"val_accuracy": 0.25, "lr": 1e-5})
    query = "?columns=param.optimizer&columns=metric.val_accuracy&columns=metric.lr&columns=program"
    answer = page.get(f"/jobs{query}&columns=param.unheard&columns=nonsense")
    html = answer.content.decode()
    assert {"Optimizer", "Validation accuracy", "lr", "Program", "unheard"} <= set(headings(html))
    texts = {row.job.name: [cell.text for cell in row.cells] for row in answer.context["rows"]}
    assert texts["Digits"] == ["sgd", "0.2500", "1.00e-5", "Digits", "–"]
    assert texts["First"] == ["–", "–", "–", "Transmitter localization", "–"]
    assert 'data-live-metric="val_accuracy"' in html


@pytest.fixture
def sweep(ada: User, dataset: Dataset) -> Sweep:
    """Three trials; the second is the best."""
    sweep = Sweep.objects.create(
        owner=ada, name="Search", dataset=dataset, space={}, method="grid", max_parallel=1,
        objective="val_loss", early_stopping={}, total_trials=4, started_trials=3,
    )  # fmt: skip
    for trial, value in ((1, 300.0), (2, 100.0), (3, None)):
        job = lifecycle.submit(ada, dataset, TrainConfig(), f"Trial {trial}", sweep=sweep,
                               trial=trial)  # fmt: skip
        status = "queued" if value is None else "completed"
        Job.objects.filter(pk=job.pk).update(headline_value=value, status=status)
    return sweep


def test_trials_are_folded_under_their_sweep(page: Client, job: Job, sweep: Sweep) -> None:
    assert names(page) == ["Search", "First"]
    (row, _) = page.get("/jobs").context["rows"]
    assert (row.sweep.trials, row.sweep.finished, row.sweep.best) == (3, 2, "100 m")
    assert row.sweep.counts == "1 queued, 2 completed"
    assert names(page, row.sweep.show_trials) == ["Trial 3", "Trial 2", "Trial 1"]
    assert names(page, "?trials=all") == ["Trial 3", "Trial 2", "Trial 1", "First"]
    assert "Sweep: Search" in page.get(f"/jobs{row.sweep.show_trials}").content.decode()


def test_sweep_is_listed_if_any_trial_matches_and_ranked_by_trial(
    page: Client, sweep: Sweep
) -> None:
    assert names(page, "?status=queued") == ["Search"]
    assert names(page, "?status=failed") == []
    assert names(page, "?ordering=best_result") == ["Trial 2", "Trial 1", "Trial 3"]
    Job.objects.get(sweep=sweep, trial=1).delete()
    assert names(page) == ["Search"]


@pytest.mark.parametrize("count", [3, 25])
@pytest.mark.usefixtures("no_rate_limits")
def test_query_count_of_the_list_does_not_grow(
    page: Client,
    ada: User,
    dataset: Dataset,
    sweep: Sweep,
    digits_job: Job,
    count: int,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    project = create_project(ada, "Vision")
    for index in range(count):
        lifecycle.submit(ada, dataset, TrainConfig(), f"Job {index}", project=project)
    Job.objects.update(current_epoch=1)
    page.get("/jobs")
    query = "?columns=param.optimizer&columns=project&columns=owner&owner=ada"
    with django_assert_num_queries(16):
        page.get(f"/jobs{query}")


def test_status_counts_and_owners_are_those_of_visible_jobs(
    client: Client, ada: User, bob: User, dataset: Dataset
) -> None:
    """They are counted in parts: one's own jobs, and those shared with one's teams."""
    team, other = Group.objects.create(name="Team"), Group.objects.create(name="Other")
    bob.groups.add(team)
    carla = User.objects.create_user("carla")
    for owner, shared in ((bob, None), (bob, team), (ada, team), (ada, None), (carla, other)):
        lifecycle.submit(owner, dataset, TrainConfig(), owner.username, team=shared)
    client.force_login(bob)
    shown = client.get("/jobs").context
    assert shown["total"] == len(shown["rows"]) == 3
    assert shown["owners"] == ["ada", "bob"]
    assert client.get("/jobs?search=ada").context["total"] == 1
    bob.groups.clear()
    shown = client.get("/jobs").context
    assert (shown["total"], shown["owners"]) == (2, ["bob"])


@pytest.mark.parametrize("many", [0, 1000])
def test_list_is_the_same_for_any_number_of_visible_jobs(
    client: Client, ada: User, bob: User, dataset: Dataset,
    monkeypatch: pytest.MonkeyPatch, many: int,
) -> None:  # fmt: skip
    """SQLite reads it in its order if they are many, and by owner and team if they are few."""
    monkeypatch.setattr("training.accounts.permissions.MANY_JOBS", many)
    team = Group.objects.create(name="Team")
    bob.groups.add(team)
    for number, (owner, shared) in enumerate([(bob, None), (ada, team), (ada, None), (bob, team)]):
        lifecycle.submit(owner, dataset, TrainConfig(), str(number), team=shared)
    client.force_login(bob)
    assert names(client) == ["3", "1", "0"]
    assert names(client, "?ordering=name") == ["0", "1", "3"]
    found = client.get("/api/v1/training/jobs?ordering=name").json()["results"]
    assert [job["name"] for job in found] == ["0", "1", "3"]
    bob.groups.clear()
    assert names(client) == ["3", "0"]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the plan of SQLite")
def test_trends_are_read_by_index(page: Client, job: Job, digits_job: Job) -> None:
    """All epochs of all jobs were read for a page, since the condition began with a false one."""
    report(job, 1, val_loss=2.0, val_rmse=300.0)
    report(digits_job, 1, val_accuracy=0.5)
    with CaptureQueriesContext(connection) as queries:
        page.get("/jobs")
    read = [query["sql"] for query in queries if 'FROM "training_epoch"' in query["sql"]]
    assert len(read) == 1
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN QUERY PLAN " + read[0])
        plan = [row[3] for row in cursor.fetchall()]
    assert not any(step.startswith("SCAN training_epoch") for step in plan), plan

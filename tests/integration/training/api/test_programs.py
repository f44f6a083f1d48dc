from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.utils import timezone
from pytest_django import Settings
from rest_framework.test import APIClient

from training.models import AuditEntry, Job, Project
from training.models.states import Status

ROOT = "/api/v1/training"
NONE = "Unknown program 'digit'; installed: localizer, digits."
MANIFEST = """
title = "Digits"
command = ["python", "train.py"]
needs = "cpu"
resumable = true
objective = { metric = "val_accuracy", direction = "maximize" }
[parameters]
epochs = { type = "integer", default = 20, minimum = 1, maximum = 1000 }
optimizer = { enum = ["adam", "sgd"], default = "adam" }
[metrics.val_accuracy]
title = "Validation accuracy"
unit = "%"
"""


@pytest.fixture(autouse=True)
def digits(tmp_path: Path, settings: Settings) -> None:
    settings.PROGRAMS_DIR = tmp_path
    folder = tmp_path / "digits"
    folder.mkdir()
    (folder / "program.toml").write_text(MANIFEST)


def post(api: APIClient, path: str, **body: Any) -> Any:
    return api.post(f"{ROOT}{path}", body, format="json")


def test_programs_are_listed_with_their_parameters(api: APIClient) -> None:
    names = [row["name"] for row in api.get(f"{ROOT}/programs").json()["results"]]
    assert names == ["localizer", "digits"]
    found = api.get(f"{ROOT}/programs/digits").json()
    assert found["title"] == "Digits"
    assert found["resumable"] is True
    assert found["objective"] == {"metric": "val_accuracy", "direction": "maximize"}
    assert found["metrics"][0]["unit"] == "%"
    assert found["parameters"]["properties"]["epochs"]["maximum"] == 1000
    assert found["parameters"]["properties"]["optimizer"]["enum"] == ["adam", "sgd"]


def test_unknown_program_is_a_404_that_names_those_installed(api: APIClient) -> None:
    answer = api.get(f"{ROOT}/programs/digit")
    assert answer.status_code == 404
    assert "installed: localizer, digits" in answer.json()["detail"]


def test_job_of_a_program_has_its_parameters_and_objective(api: APIClient) -> None:
    answer = post(api, "/jobs", program="digits", parameters={"epochs": 5}, name="First")
    assert answer.status_code == 201, answer.json()
    job = answer.json()
    assert job["program"] == "digits"
    assert job["config"] == {"epochs": 5, "optimizer": "adam"}
    assert (job["dataset_id"], job["total_epochs"], job["needs"]) == (None, 5, "cpu")
    assert job["objective"] == {"metric": "val_accuracy", "direction": "maximize"}
    clone = post(api, f"/jobs/{job['id']}/clone").json()
    assert (clone["program"], clone["config"]) == ("digits", job["config"])


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"program": "digit"}, {"program": [NONE]}),
        ({"program": "digits", "parameters": {"epochs": 0}},
         {"parameters.epochs": ["0 is too small; it must be at least 1."]}),
        ({"program": "digits", "parameters": {"epoch": 1}},
         {"parameters.epoch": ["Unknown field; did you mean 'epochs'?"]}),
        ({"program": "digit", "epochs": 3}, {"program": [NONE]}),
        ({"program": "digits", "epochs": 3},
         {"epochs": ["Unknown field; parameters of 'digits' belong in `parameters`."]}),
        ({"program": "digits", "dataset_id": None},
         {"dataset_id": ["Program 'digits' does not use datasets."]}),
        ({"program": 5}, {"program": ["5 is not a string."]}),
        ({"parameters": {"epochs": 3}},
         {"parameters": ["Unknown field; parameters of 'localizer' are fields of the request."],
          "dataset_id": ["This field is required."]}),
        ({"program": "digits", "command": ["sh"]}, {"command": ["Unknown field."]}),
    ],
)  # fmt: skip
def test_error_in_a_job_of_a_program_names_the_field(
    api: APIClient, body: dict[str, Any], errors: dict[str, list[str]]
) -> None:
    answer = post(api, "/jobs", **body)
    assert answer.status_code == 400
    assert answer.json()["errors"] == errors
    assert not Job.objects.exists()


def test_init_from_needs_a_checkpoint_of_the_same_program(api: APIClient, job: Job) -> None:
    answer = post(api, "/jobs", program="digits", init_from=str(job.pk))
    assert answer.json()["errors"] == {
        "init_from": [f"Job {job.pk} trained 'localizer', not 'digits'."]
    }
    first = post(api, "/jobs", program="digits").json()["id"]
    answer = post(api, "/jobs", program="digits", init_from=first)
    assert answer.json()["errors"] == {"init_from": [f"Job {first} has no checkpoint."]}
    Job.objects.filter(pk=first).update(checkpoint_path="/somewhere/epoch-000001.safetensors")
    second = post(api, "/jobs", program="digits", init_from=first)
    assert second.status_code == 201
    assert Job.objects.get(pk=second.json()["id"]).init_from.endswith("epoch-000001.safetensors")


def test_running_job_that_cannot_resume_is_not_paused(api: APIClient, tmp_path: Path) -> None:
    (tmp_path / "digits" / "program.toml").write_text(MANIFEST.replace("true", "false"))
    job_id = post(api, "/jobs", program="digits").json()["id"]
    Job.objects.filter(pk=job_id).update(status=Status.RUNNING)
    answer = post(api, f"/jobs/{job_id}/pause")
    assert answer.status_code == 409
    assert "'digits' declares resumable = false" in answer.json()["detail"]


def test_running_job_keeps_the_manifest_values_it_was_queued_with(
    api: APIClient, tmp_path: Path
) -> None:
    job_id = post(api, "/jobs", program="digits").json()["id"]
    Job.objects.filter(pk=job_id).update(status=Status.RUNNING)
    (tmp_path / "digits" / "program.toml").write_text(MANIFEST.replace("true", "false"))
    assert post(api, f"/jobs/{job_id}/pause").status_code == 202


def test_project_is_created_by_name_and_filters_jobs(api: APIClient) -> None:
    first = post(api, "/jobs", program="digits", project="Vision").json()
    post(api, "/jobs", program="digits")
    project = Project.objects.get(name="Vision")
    assert (first["project"], first["project_id"]) == ("Vision", str(project.pk))
    for reference, count in (("Vision", 1), (str(project.pk), 1), ("Default", 1)):
        found = api.get(f"{ROOT}/jobs", {"project": reference}).json()["results"]
        assert len(found) == count, reference


def test_projects_are_created_changed_and_deleted(api: APIClient) -> None:
    created = post(api, "/projects", name="Vision", description="Digits and such")
    assert created.status_code == 201
    pk = created.json()["id"]
    taken = post(api, "/projects", name="Vision")
    assert taken.json()["errors"] == {
        "name": ["You already have a project named 'Vision'; choose another name."]
    }
    changed = api.patch(f"{ROOT}/projects/{pk}", {"name": "Sight"}, format="json")
    assert changed.json()["name"] == "Sight"
    job = post(api, "/jobs", program="digits", project=pk).json()
    assert api.delete(f"{ROOT}/projects/{pk}").status_code == 204
    assert api.get(f"{ROOT}/jobs/{job['id']}").json()["project"] == "Default"


def test_sharing_and_deleting_a_project_is_audited(api: APIClient, ada: User) -> None:
    team = Group.objects.create(name="Hunters")
    ada.groups.add(team)
    pk = post(api, "/projects", name="Vision").json()["id"]
    for change in ({"team": "Hunters"}, {"description": "Digits"}, {"team": None}):
        assert api.patch(f"{ROOT}/projects/{pk}", change, format="json").status_code == 200
    shared = post(api, "/projects", name="Sight", team="Hunters").json()["id"]
    assert api.delete(f"{ROOT}/projects/{pk}").status_code == 204
    entries = AuditEntry.objects.order_by("pk").values_list("action", "target", "detail")
    assert list(entries) == [
        ("share", f"project {pk} Vision", {"team": "Hunters"}),
        ("share", f"project {pk} Vision", {"team": ""}),
        ("share", f"project {shared} Sight", {"team": "Hunters"}),
        ("delete", f"project {pk} Vision", {}),
    ]


def test_project_of_another_user_is_not_found(api: APIClient, bob: User) -> None:
    other_api = APIClient()
    other_api.force_authenticate(bob)
    pk = post(api, "/projects", name="Vision").json()["id"]
    assert other_api.get(f"{ROOT}/projects/{pk}").status_code == 404
    answer = other_api.post(f"{ROOT}/jobs", {"program": "digits", "project": pk}, format="json")
    message = f"Project {pk} does not exist, or you cannot use it."
    assert answer.json()["errors"] == {"project": [message]}


def test_sweep_of_a_program_searches_its_parameters(api: APIClient) -> None:
    body = {
        "name": "Wide", "program": "digits", "method": "grid",
        "space": {"epochs": {"values": [1, 2]}, "optimizer": {"values": ["adam", "sgd"]}},
    }  # fmt: skip
    answer = post(api, "/sweeps", **body)
    assert answer.status_code == 201, answer.json()
    sweep = answer.json()
    assert (sweep["program"], sweep["objective"], sweep["total_trials"]) == (
        "digits", "val_accuracy", 4,
    )  # fmt: skip
    first = Job.objects.get(trial=1)
    assert (first.program, first.config) == ("digits", {"epochs": 1, "optimizer": "adam"})


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"space": {"hidden": {"values": [1]}}},
         {"space.hidden": ["Unknown parameter; the program has epochs, optimizer."]}),
        ({"space": {"optimizer": {"min": 1, "max": 2}}},
         {"space.optimizer": ['Only numeric parameters can have a range; use {"values": [...]}.']}),
        ({"objective": "val_loss"}, {"objective": ["'val_loss' is not one of 'val_accuracy'."]}),
        ({"program": "gone"}, {"program": [NONE.replace("digit'", "gone'")]}),
        ({"program": "localizer"}, {"dataset_id": ["This field is required."]}),
    ],
)  # fmt: skip
def test_error_in_a_sweep_of_a_program_names_the_field(
    api: APIClient, body: dict[str, Any], errors: dict[str, list[str]]
) -> None:
    sent = {"name": "S", "program": "digits", "space": {"epochs": {"values": [1, 2]}}, **body}
    answer = post(api, "/sweeps", **sent)
    assert answer.status_code == 400
    assert answer.json()["errors"] == errors


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("param.epochs=7", {"Seven"}),
        ("param.optimizer=sgd", {"Seven"}),
        ("param.optimizer=adam&param.epochs=20", {"Twenty"}),
    ],
)
def test_jobs_are_filtered_by_parameters_of_any_program(
    api: APIClient, query: str, found: set[str]
) -> None:
    post(api, "/jobs", program="digits", name="Twenty", parameters={})
    post(api, "/jobs", program="digits", name="Seven",
         parameters={"epochs": 7, "optimizer": "sgd"})  # fmt: skip
    results = api.get(f"{ROOT}/jobs?{query}").json()["results"]
    assert {row["name"] for row in results} == found


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("param.optimiser=sgd", "Unknown field; did you mean 'optimizer'?"),
        ("param.hiden=3", "Unknown field; did you mean 'hidden'?"),
        ("param.optimizer=rms", "'rms' is not one of 'adam' or 'sgd'."),
        ("param.epochs=few", "'few' is not a whole number."),
    ],
)
def test_unknown_or_invalid_parameter_of_any_program_is_reported(
    api: APIClient, query: str, sentence: str
) -> None:
    answer = api.get(f"{ROOT}/jobs?{query}")
    assert answer.status_code == 400
    assert list(answer.json()["errors"].values()) == [[sentence]]


def test_parameter_of_two_types_matches_either(api: APIClient, ada: User, tmp_path: Path) -> None:
    """The text "8" is a number for one program and a name for another."""
    (tmp_path / "letters").mkdir()
    manifest = MANIFEST.replace("{ enum = [\"adam\", \"sgd\"], default = \"adam\" }",
                                '{ type = "string", default = "" }')  # fmt: skip
    manifest = manifest.replace("default = 20, minimum", "default = 3, minimum")
    (tmp_path / "letters" / "program.toml").write_text(manifest.replace("optimizer", "hidden"))
    post(api, "/jobs", program="letters", name="Letters", parameters={"hidden": "8"})
    Job.objects.create(owner=ada, name="Numbers", config={"hidden": 8}, updated_at=timezone.now())
    results = api.get(f"{ROOT}/jobs?param.hidden=8").json()["results"]
    assert {row["name"] for row in results} == {"Letters", "Numbers"}


def test_schema_has_the_parameters_of_every_program(api: APIClient) -> None:
    document = api.get("/api/v1/schema?format=json").json()
    listed = document["paths"][f"{ROOT}/jobs"]["get"]["parameters"]
    assert {"param.optimizer", "param.learning_rate"} <= {row["name"] for row in listed}

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings
from rest_framework.test import APIClient

from training.jobs import artifacts
from training.jobs.directories import attempt_directory
from training.models import AuditEntry, Job
from training.models.states import Status


@pytest.fixture
def reported(ada: User) -> Job:
    from django.utils import timezone

    return Job.objects.create(
        owner=ada, program="", reported=True, status=Status.RUNNING, attempt=1, name="Elsewhere",
        updated_at=timezone.now(),
    )  # fmt: skip


def url(job: Job, name: str = "") -> str:
    return f"/api/v1/training/jobs/{job.pk}/artifacts{'/' if name else ''}{name}"


def put(api: APIClient, job: Job, name: str, content: bytes) -> Any:
    return api.put(url(job, name), content, content_type="application/octet-stream")


def body(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


def test_uploaded_file_with_folders_is_listed_and_downloaded(api: APIClient, reported: Job) -> None:
    content = bytes(range(256)) * 4000
    answer = put(api, reported, "plots/loss curve.png", content)
    assert answer.status_code == 201, answer.json()
    (listed,) = api.get(url(reported)).json()["results"]
    assert (listed["name"], listed["kind"], listed["bytes"]) == (
        "plots/loss curve.png", "file", len(content),
    )  # fmt: skip
    found = api.get(listed["url"])
    assert hashlib.sha256(body(found)).digest() == hashlib.sha256(content).digest()
    assert found["Content-Type"] == "image/png"
    part = api.get(listed["url"], headers={"Range": "bytes=10-19"})
    assert (part.status_code, body(part)) == (206, content[10:20])


def test_uploaded_file_replaces_one_of_the_same_name(api: APIClient, reported: Job) -> None:
    put(api, reported, "notes.txt", b"first")
    put(api, reported, "notes.txt", b"second")
    (listed,) = api.get(url(reported)).json()["results"]
    assert body(api.get(listed["url"])) == b"second"


def test_two_uploads_of_one_name_at_once_do_not_mix(api: APIClient, reported: Job) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"first "
        artifacts.store_artifact(reported, "notes.txt", [b"second"], 1000)
        yield b"upload"

    artifacts.store_artifact(reported, "notes.txt", blocks(), 1000)
    (listed,) = api.get(url(reported)).json()["results"]
    assert body(api.get(listed["url"])) == b"first upload"


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "script.js", "text.xml"])
def test_no_browser_runs_a_file_that_a_run_saved(api: APIClient, reported: Job, name: str) -> None:
    put(api, reported, name, b"<script>alert(1)</script>")
    found = api.get(url(reported, name))
    assert found["Content-Type"] == "application/octet-stream"
    assert found["Content-Disposition"] == f'attachment; filename="{name}"'
    assert found["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a//b", "has an empty part, '.' or '..'."),
        ("a/%2E%2E/b", "has an empty part, '.' or '..'."),
        ("a%5Cb", "has a backslash or a character that is not printable."),
        ("a%E2%80%8Bb", "has a backslash or a character that is not printable."),
        ("x" * 241, "each may have 240 bytes in UTF-8."),
        ("a/" + "%C3%A9" * 121 + "/b", "each may have 240 bytes in UTF-8."),
        ("a/engine.part", "ends in .part, as the names of incomplete files do"),
        ("/".join("x" * 25), "at most 400 characters and 20 folders allowed."),
    ],
)
def test_name_that_is_not_a_path_below_the_job_is_rejected(
    api: APIClient, reported: Job, name: str, sentence: str
) -> None:
    answer = put(api, reported, name, b"x")
    assert answer.status_code == 400
    assert sentence in answer.json()["errors"]["name"][0]
    assert api.get(url(reported)).json()["results"] == []


def test_name_of_the_greatest_length_is_stored(api: APIClient, reported: Job) -> None:
    name = "/".join(["x" * 240, "y" * 159])
    assert put(api, reported, name, b"x").status_code == 201
    (listed,) = api.get(url(reported)).json()["results"]
    assert body(api.get(listed["url"])) == b"x"


def test_file_beyond_the_quota_is_refused_and_leaves_nothing(
    api: APIClient, reported: Job, settings: Settings
) -> None:
    settings.ARTIFACTS_MAX_BYTES = 1000
    assert put(api, reported, "first", b"x" * 600).status_code == 201
    answer = put(api, reported, "second", b"x" * 600)
    assert answer.status_code == 413
    assert "would exceed 1,000 bytes" in answer.json()["detail"]
    folder = attempt_directory(reported.pk, 1) / "artifacts"
    assert [path.name for path in folder.iterdir()] == ["first"]
    assert put(api, reported, "first", b"x" * 900).status_code == 201


def test_number_of_files_is_limited(
    api: APIClient, reported: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "MAX_FILES", 2)
    for name in ("a", "b/c"):
        assert put(api, reported, name, b"x").status_code == 201
    answer = put(api, reported, "b/d", b"x")
    assert answer.status_code == 400
    assert answer.json()["errors"]["name"] == [
        "This job has 2 files, and the limit is 2; put several into an archive, such as a zip."
    ]
    assert put(api, reported, "b/c", b"xy").status_code == 201


def test_all_files_count_toward_the_quota(
    api: APIClient, reported: Job, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of a script, which may be more than a list shows."""
    monkeypatch.setattr(artifacts, "MAX_FILES", 3)
    settings.ARTIFACTS_MAX_BYTES = 1000
    put(api, reported, "z", b"x" * 100)
    folder = attempt_directory(reported.pk, 1) / "artifacts"
    for name in "abcd":
        (folder / name).write_bytes(b"x" * 200)
    answer = put(api, reported, "z", b"x" * 300)
    assert (answer.status_code, "would exceed 1,000 bytes" in answer.json()["detail"]) == (
        413,
        True,
    )


def test_file_beyond_those_of_a_list_is_found_by_its_name(
    reported: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "MAX_FILES", 2)
    folder = attempt_directory(reported.pk, 1) / "artifacts"
    (folder / "plots").mkdir(parents=True)
    for name in ("a", "b", "plots/c"):
        (folder / name).write_text(name)
    (folder / "link").symlink_to("/etc/passwd")
    found = artifacts.find_artifact(reported, "plots/c")
    assert found is not None and found.bytes == 7
    for name in ("plots", "link", "../artifacts/a", "missing", "/etc/passwd"):
        assert artifacts.find_artifact(reported, name) is None, name


def test_file_and_folder_of_one_name_are_refused(api: APIClient, reported: Job) -> None:
    put(api, reported, "a", b"x")
    assert put(api, reported, "a/b", b"x").status_code == 400


def test_artifact_upload_to_a_job_run_by_heimdall_is_409(api: APIClient, job: Job) -> None:
    assert put(api, job, "a", b"x").status_code == 409


def test_files_of_the_newest_attempt_take_precedence(api: APIClient, job: Job) -> None:
    for attempt, names in ((1, ("a", "b")), (2, ("b",))):
        folder = attempt_directory(job.pk, attempt) / "artifacts"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text(f"{name} of {attempt}")
    listed = {one["name"]: one["url"] for one in api.get(url(job)).json()["results"]}
    assert body(api.get(listed["a"])) == b"a of 1"
    assert body(api.get(listed["b"])) == b"b of 2"


def test_exports_are_audited(api: APIClient, job: Job) -> None:
    assert api.get(f"/api/v1/training/jobs/{job.pk}/export?format=csv").status_code == 200
    rows = AuditEntry.objects.filter(action="download")
    assert list(rows.values_list("actor", "detail")) == [("ada", {"export": "csv"})]

"""Points and filters over HTTP on PostgreSQL and on SQLite."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stack import Stack


@pytest.fixture(
    params=[
        pytest.param("stack", marks=[pytest.mark.rabbit, pytest.mark.xdist_group("stack")]),
        pytest.param("embedded", marks=pytest.mark.xdist_group("embedded")),
    ]
)
def installation(request: pytest.FixtureRequest) -> Stack:
    found: Stack = request.getfixturevalue(request.param)
    return found


COMPACT = """
import sys, django
django.setup()
from training.models import PointBatch
from training.points import compaction
assert compaction.compact(sys.argv[1])
print(PointBatch.objects.filter(job_id=sys.argv[1]).count())
"""


def test_points_are_stored_compacted_and_filtered(installation: Stack) -> None:
    name = "train/ä 'quoted' \"loss\""
    with installation.api() as api:
        job_id = api.post("/reports", json={"name": "On both databases"}).json()["id"]

        def send(number: int, *points: dict[str, Any]) -> None:
            body = {"batch": f"client-{number}", "points": list(points)}
            answer = api.post(f"/reports/{job_id}/points", json=body)
            assert answer.json() == {
                "accepted": len(points), "rejected": [], "stop_requested": ""
            }, answer.text  # fmt: skip

        def columns() -> Any:
            return api.get(f"/jobs/{job_id}/metrics").json()

        def point(step: int, value: float | str, **more: Any) -> dict[str, Any]:
            return {"step": step, "time": 1e9 + step, "values": {name: value}, **more}

        send(1, point(1, 1.0, epoch=1), point(3, "NaN", epoch=2))
        send(2, point(2, "-Infinity"), point(1, 5.0, epoch=1))
        send(2, point(2, 7.0))
        before = columns()
        assert before["step"] == [1, 2, 3]
        assert before["epoch"] == [1, None, 2]
        assert before["series"] == {name: [5.0, None, None]}
        assert before["not_finite"] == {name: {"1": "-Infinity", "2": "NaN"}}
        assert installation.python("-c", COMPACT, job_id).split()[-1] == "0"
        assert columns() == before
        send(3, point(4, 0.25, epoch=3))
        assert columns()["series"] == {name: [5.0, None, None, 0.25]}
        for query, found in (("__lt=0.3", True), ("__gt=0.3", False), ("=0.25", True)):
            parameter, number = f"metric.{name}{query}".split("=")
            listed = api.get("/jobs", params={parameter: number, "search": "both"}).json()
            assert [job["id"] for job in listed["results"]] == [job_id] * found
        assert api.post(f"/reports/{job_id}/finish", json={"status": "completed"}).is_success
        assert api.delete(f"/jobs/{job_id}").status_code == 204

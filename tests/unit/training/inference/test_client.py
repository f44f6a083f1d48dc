"""The client of the inference process, with a small program in its place."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from training.inference import client
from training.inference.client import (
    InferenceClient,
    InferenceError,
    InferenceUnavailableError,
    Results,
)
from training.programs.messages import FD_VARIABLE, PredictRequest
from training.programs.registry import get_program

REQUEST = PredictRequest(model="/m", measurements=[])
SERVER = f"""
import json, os, sys, time
responses = os.fdopen(int(os.environ["{FD_VARIABLE}"]), "w")
def respond(*results, **fields):
    for result in results:
        responses.write(json.dumps([result]) + "\\n")
        responses.flush()
    responses.write(json.dumps(dict(results=len(results), **fields)) + "\\n")
    responses.flush()
for line in sys.stdin:
    request = json.loads(line)
    {{body}}
"""
Serve = Callable[[str], InferenceClient]


def results_of(found: Results) -> list[Any]:
    return [result for block in found.blocks for result in json.loads(block)]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Serve]:
    """A client whose process runs `body` for each request."""
    made: list[InferenceClient] = []

    def start(body: str) -> InferenceClient:
        script = tmp_path / "server.py"
        script.write_text(SERVER.format(body=body))
        program = replace(get_program(), inference_command=("-S", str(script)))
        monkeypatch.setattr(client, "get_program", lambda: program)
        made.append(InferenceClient())
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_results_of_consecutive_requests_come_from_one_process(serve: Serve) -> None:
    served = serve("respond({'pid': os.getpid(), 'model': request['model']})")
    first, second = served.request(REQUEST), served.request(REQUEST)
    assert first == second
    assert results_of(first)[0]["model"] == "/m"


def test_results_come_in_several_blocks(serve: Serve) -> None:
    served = serve("respond('a' * 100_000, 'b' * 100_000, 'c')")
    found = served.request(REQUEST)
    assert results_of(found) == ["a" * 100_000, "b" * 100_000, "c"]
    assert found.response.results == len(found.blocks) == 3


def test_exit_between_two_blocks_repeats_the_request(serve: Serve, tmp_path: Path) -> None:
    once = tmp_path / "once"
    served = serve(
        "responses.write('[1]\\n'); responses.flush()\n"
        f"    os.path.exists({str(once)!r}) or (open({str(once)!r}, 'w'), os._exit(1))\n"
        "    respond(2)"
    )
    assert results_of(served.request(REQUEST)) == [1, 2]


def test_error_names_the_field(serve: Serve) -> None:
    served = serve("respond(error='No signal.', field='measurements.0')")
    with pytest.raises(InferenceError, match=r"^No signal\.$") as refused:
        served.request(REQUEST)
    assert refused.value.field == "measurements.0"


def test_process_that_exited_is_started_again(serve: Serve) -> None:
    served = serve("respond({'pid': os.getpid()}); sys.exit()")
    first = served.request(REQUEST)
    assert served.request(REQUEST) != first


def test_process_that_always_exits_is_unavailable(serve: Serve) -> None:
    served = serve("sys.exit()")
    with pytest.raises(InferenceUnavailableError, match="exited without a response"):
        served.request(REQUEST)


def test_unresponsive_process_is_killed_and_the_next_request_gets_a_new_one(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "START_SECONDS", 0.0)
    served = serve("time.sleep(60) if request['model'] == '/slow' else respond()")
    with pytest.raises(InferenceUnavailableError, match="did not respond within 0 s"):
        served.request(PredictRequest(model="/slow", measurements=[]), seconds=0.2)
    monkeypatch.setattr(client, "START_SECONDS", 60.0)
    assert results_of(served.request(REQUEST)) == []


def test_process_does_not_inherit_secrets(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SECRET_KEY", "secret")
    served = serve("respond(dict(os.environ))")
    (environment,) = results_of(served.request(REQUEST))
    assert "DJANGO_SECRET_KEY" not in environment
    assert environment["OMP_NUM_THREADS"] == "1"


def test_closed_client_leaves_no_process(serve: Serve) -> None:
    served = serve("respond({'pid': os.getpid()})")
    (found,) = results_of(served.request(REQUEST))
    served.close()
    served.close()
    until = time.monotonic() + 5
    while Path(f"/proc/{found['pid']}").exists():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_interpreter_that_cannot_be_started_is_an_error(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve("respond()")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(OSError, match="/nowhere/python"):
        served.request(REQUEST)
    monkeypatch.undo()


def test_requests_beyond_the_queue_are_refused_immediately(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_REQUESTS", 2)
    served = serve("time.sleep(0.5); respond()")
    served.request(REQUEST)  # the process has started
    with ThreadPoolExecutor(6) as pool:
        found = [pool.submit(served.request, REQUEST) for _ in range(6)]
        refused = [one.exception() for one in found if one.exception() is not None]
    assert len(refused) == 4
    assert all(isinstance(error, InferenceUnavailableError) for error in refused)
    assert all(error.wait for error in refused if isinstance(error, InferenceUnavailableError))
    assert results_of(served.request(REQUEST)) == []

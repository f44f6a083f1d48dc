"""The configuration of a job is limited wherever Heimdall starts one."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from pydantic import BaseModel

from training.jobs import config_limits, lifecycle
from training.models import Dataset, Job
from training.sweeps.spec import validate_spec
from training.validation import InvalidInputError


class Parameters(BaseModel):
    prompt: str


def test_job_with_too_large_parameters_is_not_queued(ada: User, dataset: Dataset) -> None:
    with pytest.raises(InvalidInputError) as caught:
        lifecycle.submit(ada, dataset, Parameters(prompt="x" * 300_000))
    assert caught.value.errors == {
        "parameters": ["The configuration has 300,013 bytes as JSON, and the limit is 262,144."]
    }
    assert not Job.objects.exists()


def test_sweep_whose_trials_would_have_too_large_parameters_is_refused(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {
        "name": "A", "dataset_id": str(dataset.pk), "method": "grid",
        "space": {"seed": {"values": [1, 2]}},
    }  # fmt: skip
    validate_spec(spec)
    monkeypatch.setattr(config_limits, "MAX_CONFIG_BYTES", 20)
    with pytest.raises(InvalidInputError) as caught:
        validate_spec(spec)
    assert caught.value.errors.keys() == {"config"}

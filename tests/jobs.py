"""Helpers for tests that act on job rows directly."""

from __future__ import annotations

from training.jobs import attempts
from training.jobs.attempts import Attempt
from training.models import Job, JobEvent


def claim_job(job: Job, worker: str = "worker") -> Attempt:
    """Claim a queued job for `worker`; the test fails if it cannot be claimed."""
    claimed = attempts.claim(job.pk, worker)
    assert claimed, f"{job} cannot be claimed: it is {reload(job).status}"
    return claimed[0]


def reload(job: Job) -> Job:
    """The job as the database has it now, in a new instance."""
    return Job.objects.get(pk=job.pk)


def events_and_statuses(job: Job) -> list[tuple[str, str]]:
    """(event, status) of each of the job's events in order; asserts that `seq` has no gap."""
    events = list(JobEvent.objects.filter(job=job))
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert reload(job).seq == len(events)
    return [(event.event, event.data.get("status", "")) for event in events]

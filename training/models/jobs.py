"""Datasets, jobs, sweeps, their epochs, events and models, and the workers that train them.

Only `training.jobs.lifecycle.change` sets a job's status, attempt and seq. `training.events.store`
sets what has been sent, `training.workers.maintenance` when a job was enqueued again.
`training.sweeps` writes sweeps.
"""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q

from training.models.config_texts import ConfigTextsField
from training.models.expressions import UNSENT, NotEmpty, NullsAsInfinity, Parameter, SecondsBetween
from training.models.path_field import DataPathField
from training.models.states import Needs, Status, Stop
from training.models.texts_index import TextsIndex
from training.text import MAX_METRIC_NAME


class Dataset(models.Model):
    """A dataset of a program; its arrays are in the file at `path`."""

    class Kind(models.TextChoices):
        SYNTHETIC = "synthetic"
        MEASURED = "measured"

    class State(models.TextChoices):
        GENERATING = "generating"
        READY = "ready"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="datasets", db_index=True
    )
    # Its members can view and control it.
    team = models.ForeignKey(Group, models.SET_NULL, null=True, blank=True, related_name="+")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=10, choices=Kind)
    status = models.CharField(max_length=10, choices=State, default=State.READY)
    path = DataPathField(max_length=500, blank=True)
    content_hash = models.CharField(max_length=64, blank=True)
    samples = models.PositiveIntegerField(default=0)
    facts = models.JSONField(default=dict)
    disk_bytes = models.BigIntegerField(null=True)  # None: not measured yet
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        indexes: ClassVar = [models.Index(fields=["-created_at", "-id"], name="dataset_newest")]

    def __str__(self) -> str:
        return self.name


class Project(models.Model):
    """A group of jobs. A job without one is in its owner's default project."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="projects")
    # Its members can view it and control its jobs.
    team = models.ForeignKey(Group, models.SET_NULL, null=True, blank=True, related_name="+")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "name"], name="project_once_per_owner")
        ]

    def __str__(self) -> str:
        return self.name


class Sweep(models.Model):
    """A hyperparameter search: its specification and progress."""

    class State(models.TextChoices):
        RUNNING = "running"
        PAUSED = "paused"
        COMPLETED = "completed"
        FAILED = "failed"
        CANCELLED = "cancelled"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="sweeps")
    name = models.CharField(max_length=200)
    dataset = models.ForeignKey(Dataset, models.PROTECT, null=True, related_name="sweeps")
    project = models.ForeignKey(Project, models.SET_NULL, null=True, blank=True, related_name="+")
    # Its members can view and control the sweep and its trials.
    team = models.ForeignKey(Group, models.SET_NULL, null=True, blank=True, related_name="+")
    # From `training.sweeps.spec.SweepSpec`.
    program = models.CharField(max_length=100, default="localizer")
    config = models.JSONField(default=dict)
    policy = models.JSONField(default=dict)
    space = models.JSONField()
    method = models.CharField(max_length=10)
    seed = models.PositiveIntegerField(default=0)
    max_parallel = models.PositiveIntegerField()
    objective = models.CharField(max_length=MAX_METRIC_NAME)
    early_stopping = models.JSONField()
    total_trials = models.PositiveIntegerField()

    status = models.CharField(max_length=10, choices=State, default=State.RUNNING, db_index=True)
    # The number of the newest trial; starting the next one is a compare-and-set on it.
    started_trials = models.PositiveIntegerField(default=0)
    error_message = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        indexes: ClassVar = [models.Index(fields=["-created_at", "-id"], name="sweep_newest")]

    def __str__(self) -> str:
        return self.name


class Job(models.Model):
    """One training or generation, through all its attempts."""

    class Kind(models.TextChoices):
        TRAINING = "training"
        GENERATION = "generation"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="jobs")
    # Its members can view and control it.
    team = models.ForeignKey(Group, models.SET_NULL, null=True, blank=True, related_name="+")
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.TRAINING)
    name = models.CharField(max_length=200, blank=True)
    notes = models.TextField(blank=True)
    tags = models.JSONField(default=list)
    # Only programs that declare a dataset format have one.
    dataset = models.ForeignKey(Dataset, models.PROTECT, null=True, blank=True, related_name="jobs")
    project = models.ForeignKey(
        Project, models.SET_NULL, null=True, blank=True, related_name="jobs"
    )
    program = models.CharField(max_length=100, default="localizer")
    # The training runs elsewhere and reports over HTTP; no worker claims the job.
    reported = models.BooleanField(default=False)
    # A reported job that ended because no report came; the next report continues it.
    silent = models.BooleanField(default=False)
    # The run in the tool that recorded it, if the job was imported; unique per owner.
    external_id = models.CharField(max_length=200, blank=True, default="")
    # Its metrics are points (`training.points`), and a later point may change a stored epoch.
    has_points = models.BooleanField(default=False)
    config = models.JSONField(default=dict)
    config_texts = ConfigTextsField(default=dict)
    # The checkpoint of another job that the training starts from.
    init_from = DataPathField(max_length=500, blank=True, default="")
    parent = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="+")
    sweep = models.ForeignKey(Sweep, models.SET_NULL, null=True, blank=True, related_name="jobs")
    trial = models.PositiveIntegerField(null=True, blank=True)  # its number within the sweep

    status = models.CharField(max_length=10, choices=Status, default=Status.QUEUED, db_index=True)
    stop_requested = models.CharField(max_length=6, choices=Stop, blank=True, default=Stop.NONE)
    error_message = models.TextField(blank=True)
    cancel_reason = models.TextField(blank=True, default="")

    # The newest event, and the newest one that the broker has confirmed.
    seq = models.PositiveIntegerField(default=0)
    sent_seq = models.PositiveIntegerField(default=0)
    sending_until = models.DateTimeField(null=True)

    # Each run is an attempt; workers of older attempts can no longer write.
    attempt = models.PositiveIntegerField(default=0)
    crashes = models.PositiveIntegerField(default=0)
    worker = models.CharField(max_length=200, blank=True)
    lease_expires_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    enqueued_at = models.DateTimeField(null=True)
    # The queue policy: `training.jobs.policy`.
    needs = models.CharField(max_length=4, choices=Needs, default=Needs.AUTO)
    priority = models.SmallIntegerField(default=0)
    processes = models.PositiveSmallIntegerField(default=1)
    # What its program declared when the job was queued: without checkpoints a pause loses work.
    resumable = models.BooleanField(default=True)

    current_epoch = models.PositiveIntegerField(default=0)
    total_epochs = models.PositiveIntegerField(default=0)
    generated = models.PositiveIntegerField(default=0)
    # What the training itself reports (`training.jobs.trainer_status`); else None.
    reported_percent = models.FloatField(null=True)
    estimated_end_at = models.DateTimeField(null=True)
    best_epoch = models.PositiveIntegerField(null=True)
    # The objective decides which epoch is best; `headline_value` is the program's headline metric
    # at that epoch.
    objective_metric = models.CharField(max_length=MAX_METRIC_NAME, blank=True)
    objective_direction = models.CharField(max_length=8, blank=True)
    best_value = models.FloatField(null=True)
    headline_value = models.FloatField(null=True)
    # The newest value of each metric; null where it is not finite.
    summary = models.JSONField(default=dict)
    checkpoint_path = DataPathField(max_length=500, blank=True)
    # `training.jobs.disk_use`; None: to be measured.
    disk_bytes = models.BigIntegerField(null=True)

    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        indexes: ClassVar = [
            models.Index(fields=["-created_at", "-id"], name="job_newest"),
            models.Index(fields=["owner", "-created_at"], name="job_owner_newest"),
            # Counts by status of one's own jobs, and of those that are shared with one's teams.
            models.Index(fields=["owner", "status"], name="job_owner_status"),
            models.Index(
                fields=["team", "owner", "status"],
                condition=Q(team__isnull=False),
                name="job_team_owner_status",
            ),
            models.Index(fields=["program", "status"], name="job_program_status"),
            TextsIndex(fields=["tags", "id"], name="job_tags"),
            models.Index(fields=["id"], condition=Q(NotEmpty("notes")), name="job_noted"),
            models.Index(
                fields=["id"], condition=Q(NotEmpty("error_message")), name="job_with_error"
            ),
            models.Index(fields=["worker"], name="job_worker"),
            models.Index(fields=["owner", "disk_bytes"], name="job_owner_disk"),
            models.Index(NullsAsInfinity("headline_value"), "id", name="job_headline"),
            models.Index(NullsAsInfinity("best_value"), "id", name="job_best_value"),
            # Orders of the list.
            models.Index(fields=["name", "id"], name="job_name"),
            models.Index(fields=["status", "created_at", "id"], name="job_status_newest"),
            models.Index(fields=["current_epoch", "id"], name="job_epochs"),
            models.Index(SecondsBetween("started_at", "finished_at"), "id", name="job_duration"),
            # Seeds may all differ, so that a scan in order of results would find one late.
            models.Index(Parameter("seed", "config"), name="job_seed"),
            # The most common filters, in the most common order. PostgreSQL keeps statistics of an
            # expression only if an index uses it.
            *(
                models.Index(
                    Parameter(name, "config"),
                    NullsAsInfinity("headline_value"),
                    "id",
                    name=f"job_{name}_headline",
                )
                for name in ("learning_rate", "batch_size")
            ),
            models.Index(fields=["id"], condition=UNSENT, name="job_unsent"),
            models.Index(
                fields=["heartbeat_at"],
                condition=Q(reported=True, status=Status.RUNNING),
                name="job_reporting",
            ),
            models.Index(
                fields=["-priority", "owner", "created_at"],
                condition=Q(status=Status.QUEUED),
                name="job_next_of_owner",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["sweep", "trial"], name="trial_once_per_sweep"),
            models.UniqueConstraint(
                fields=["owner", "external_id"],
                condition=~Q(external_id=""),
                name="external_id_once_per_owner",
            ),
        ]

    def __str__(self) -> str:
        return self.name or f"{self.kind} {str(self.id)[:8]}"

    @property
    def display_status(self) -> str:
        """A key of `training.jobs.status.STATUS_LABELS`: the only place that derives it.

        Status events carry it, so an open page shows the same word as a reloaded one.
        """
        if self.status == Status.RUNNING and self.stop_requested:
            return "pausing" if self.stop_requested == Stop.PAUSE else "cancelling"
        if self.status == Status.QUEUED and self.crashes:
            return "interrupted"
        return str(self.status)

    @property
    def project_name(self) -> str:
        return self.project.name if self.project else "Default"

    @property
    def dataset_hash(self) -> str:
        return self.dataset.content_hash if self.dataset else ""

    @property
    def has_known_progress(self) -> bool:
        """False for a reported job that has not reported how many epochs it will have."""
        return bool(
            self.status == Status.COMPLETED
            or self.total_epochs
            or self.reported_percent is not None
            or self.kind == self.Kind.GENERATION
        )

    @property
    def progress_percent(self) -> float:
        """0 to 100; a job that stopped early is at 100 too."""
        if self.status == Status.COMPLETED:
            return 100.0
        if self.reported_percent is not None:
            return round(self.reported_percent, 2)
        if self.kind == self.Kind.GENERATION:
            done, total = self.generated, int(self.config.get("samples", 0))
        else:
            done, total = self.current_epoch, self.total_epochs
        return round(100.0 * done / total, 2) if total else 0.0


class QueueTurn(models.Model):
    """When a worker last claimed a job of this user; the queue takes the owners in turn."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="+"
    )
    claimed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.user} at {self.claimed_at}"


class Epoch(models.Model):
    """The metrics of one epoch, stored once even if the epoch was computed again."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="epochs")
    epoch = models.PositiveIntegerField()
    metrics = models.JSONField()
    is_best = models.BooleanField(default=False)
    seconds = models.FloatField()
    attempt = models.PositiveIntegerField()
    at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["epoch"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["job", "epoch"], name="epoch_once_per_job")
        ]

    def __str__(self) -> str:
        return f"epoch {self.epoch}"


class JobEvent(models.Model):
    """An event of a job; `seq` counts 1, 2, 3, ... without gaps."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="events")
    seq = models.PositiveIntegerField()
    event = models.CharField(max_length=40)
    data = models.JSONField()
    at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["seq"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["job", "seq"], name="event_once_per_seq")
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.event}"


class SystemBlock(models.Model):
    """Consecutive samples of what an attempt used of the machine (`training.jobs.system_figures`).

    `samples` has a column for each figure, and `at` with their times.
    """

    job = models.ForeignKey(Job, models.CASCADE, related_name="system_blocks")
    attempt = models.PositiveIntegerField()
    first_at = models.DateTimeField()
    samples = models.JSONField()
    peak_memory = models.BigIntegerField()
    updated_at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["first_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["job", "attempt", "first_at"], name="system_block_once")
        ]

    def __str__(self) -> str:
        return f"samples of attempt {self.attempt} from {self.first_at}"


class TrainedModel(models.Model):
    """The best checkpoint of a completed job, and its evaluation on the test split."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    job = models.OneToOneField(Job, models.CASCADE, related_name="model")
    checkpoint_path = DataPathField(max_length=500)
    evaluation = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"model of {self.job_id}"

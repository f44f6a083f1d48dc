"""What `manage.py demo` shows: a user, a dataset, one job, and its progress in the terminal."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from heimdall import web_process
from heimdall.secret_key import load_or_create_secret
from training.datasets.service import import_folder, store_dataset
from training.jobs import lifecycle
from training.localization.config import GenerateConfig, TrainConfig
from training.localization.synthetic.generate import generate_dataset
from training.models import Dataset, Epoch, Job, TrainedModel
from training.models.states import Status

USER = "demo"
SYNTHETIC_NAME = "Seven receivers in northern Italy"
SYNTHETIC_SAMPLES = 6_000
POLL_SECONDS = 0.2
FINAL_EVENTS = {Status.COMPLETED, Status.FAILED, Status.CANCELLED}


def seed(folder: Path | None) -> tuple[Dataset, str]:
    """The demo's dataset and its user's password; made at the first start."""
    password = load_or_create_secret(Path(settings.DATA_DIR) / "demo_password", strength=9)
    user, fresh = User.objects.get_or_create(
        username=USER, defaults={"is_staff": True, "is_superuser": True}
    )
    if fresh:
        user.set_password(password)
        user.save()
    return (_measured(user, folder) if folder else _synthetic(user)), password


def _synthetic(user: User) -> Dataset:
    found = Dataset.objects.filter(
        owner=user, name=SYNTHETIC_NAME, status=Dataset.State.READY
    ).first()
    if found and Path(found.path).exists():
        return found
    config = GenerateConfig(samples=SYNTHETIC_SAMPLES, seed=1)
    return store_dataset(user, SYNTHETIC_NAME, generate_dataset(config))


def _measured(user: User, folder: Path) -> Dataset:
    """Imported each time, since the folder may have changed; kept once."""
    fresh = import_folder(user, folder.resolve().name, folder)
    same = Dataset.objects.filter(owner=user, content_hash=fresh.content_hash)
    before = same.exclude(pk=fresh.pk).first()
    if before is None or not Path(before.path).exists():
        return fresh
    Path(fresh.path).unlink()
    fresh.delete()
    return before


class Demo:
    """One job, shown in the terminal from a thread while the server runs."""

    def __init__(self, dataset: Dataset, password: str, epochs: int, stop_at_end: bool) -> None:
        self.exit_status = 1 if stop_at_end else 0
        self._dataset, self._password = dataset, password
        self._epochs, self._stop_at_end = epochs, stop_at_end
        self._console = Console(highlight=False)
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, port: int) -> None:
        """The server listens: start the job and show it; returns at once."""
        self._thread = threading.Thread(target=self._show, args=[port], name="demo", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """The server has ended: leave the terminal as it was."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=3)

    def _show(self, port: int) -> None:
        try:
            job = lifecycle.submit(
                self._dataset.owner, self._dataset, TrainConfig(epochs=self._epochs), "Demo"
            )
            self._greet(port, job)
            job = self._follow(job)
            self._conclude(job)
        except Exception:
            self._console.print_exception()
        finally:
            connection.close()
            if self._stop_at_end:
                # As Ctrl-C does, everything is ended in order; a shell may have SIGINT ignored.
                os.kill(os.getpid(), signal.SIGTERM)

    def _greet(self, port: int, job: Job) -> None:
        say = self._console.print
        say(f"[bold]http://127.0.0.1:{port}/jobs/{job.pk}[/bold]", soft_wrap=True)
        say(f"Sign in as [bold]{USER}[/bold], password [bold]{self._password}[/bold]")
        say(web_process.startup_banner(), style="dim", soft_wrap=True)

    def _follow(self, job: Job) -> Job:
        """Draw the bar (or, where nobody looks, a line an epoch) until the job has ended."""
        seen, best = max(job.current_epoch - 1, 0), job.best_val_rmse
        with self._bar() as bar:
            task = bar.add_task("starting the trainer", total=job.total_epochs, facts="")
            while job.status not in FINAL_EVENTS and not self._over.wait(POLL_SECONDS):
                job.refresh_from_db()
                for ended in job.epochs.filter(epoch__gt=seen).order_by("epoch"):
                    seen = ended.epoch
                    best = ended.metrics["val_rmse"] if ended.is_best else best
                    bar.update(task, completed=seen, facts=_facts(ended, best))
                    if not self._console.is_terminal:
                        told = f"epoch {seen}/{job.total_epochs}  {_facts(ended, best)}"
                        self._console.print(told)
                bar.update(task, description=_describe(job))
        return job

    def _bar(self) -> Progress:
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("epoch {task.completed}/{task.total}  {task.fields[facts]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def _conclude(self, job: Job) -> None:
        if job.status not in FINAL_EVENTS:
            self._console.print(
                f"Stopped after epoch {job.current_epoch}; the job goes on at the next start."
            )
            return
        if job.status != Status.COMPLETED:
            self._console.print(f"[bold red]{job.status}[/bold red] {job.error_message}")
            return
        self.exit_status = 0
        self._console.print(
            f"[bold green]completed[/bold green] best epoch {job.best_epoch} of "
            f"{job.current_epoch}. On the test split:"
        )
        self._console.print(_table(TrainedModel.objects.get(job=job).evaluation))
        if not self._stop_at_end:
            self._console.print("The server stays up; Ctrl-C ends it.")


def _describe(job: Job) -> str:
    if job.status == Status.RUNNING and job.started_at is None:
        return "starting the trainer"
    return str(job.status)


def _facts(ended: Epoch, best: float | None) -> str:
    loss, rmse = ended.metrics["val_loss"], ended.metrics["val_rmse"]
    return f"loss {loss:.4g}  RMSE {_metres(rmse)}  at best epoch {_metres(best)}"


def _table(evaluation: dict[str, Any]) -> Table:
    """The model beside the classical baselines, in metres."""
    table = Table("", "mean", "RMSE", "median", "p95", box=None)
    rows = {"this model": evaluation["test"], **evaluation["baselines"]}
    for name, metrics in rows.items():
        figures = [_metres(metrics[key]) for key in ("mean_m", "rmse_m", "median_m", "p95_m")]
        table.add_row(name.replace("_", " "), *figures)
    bound = evaluation.get("bound_rmse_m")
    if isinstance(bound, float):
        table.add_row("Cramér-Rao bound", "", _metres(bound), "", "")
    return table


def _metres(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value / 1000:.2f} km" if value >= 10_000 else f"{value:.0f} m"

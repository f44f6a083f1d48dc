"""The demo: creates a user and a dataset, trains one job and shows its progress in the terminal."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from heimdall import web_process
from heimdall.secret_key import load_or_create_secret
from heimdall_sdk.text import clean_name
from training.datasets.service import read_folder, store_dataset
from training.jobs import lifecycle
from training.jobs.reference_errors import baseline_title
from training.models import Dataset, Epoch, Job, TrainedModel
from training.models.evaluation import Evaluation
from training.models.states import Status
from training.programs.registry import get_program
from training.web.formatting import format_distance, formatter

USER = "demo"
SYNTHETIC_NAME = "Seven receivers in northern Italy"
SYNTHETIC_SAMPLES = 6_000
POLL_SECONDS = 0.2
FINAL_STATUSES = {Status.COMPLETED, Status.FAILED, Status.CANCELLED}


def seed(folder: Path | None) -> tuple[Dataset, str]:
    """Return the demo's dataset and its user's password; both are created at the first start."""
    password = load_or_create_secret(Path(settings.DATA_DIR) / "demo_password", strength=9)
    user, created = User.objects.get_or_create(
        username=USER, defaults={"is_staff": True, "is_superuser": True}
    )
    if created:
        user.set_password(password)
        user.save()
    return (_imported(user, folder) if folder else _synthetic(user)), password


def _synthetic(user: User) -> Dataset:
    existing = Dataset.objects.filter(
        owner=user, name=SYNTHETIC_NAME, status=Dataset.State.READY
    ).first()
    if existing and Path(existing.path).exists():
        return existing
    datasets = get_program().dataset_format
    options = datasets.generation_options(samples=SYNTHETIC_SAMPLES, seed=1)
    return store_dataset(user, SYNTHETIC_NAME, datasets.generate(options))


def _imported(user: User, folder: Path) -> Dataset:
    read = read_folder(folder)
    existing = Dataset.objects.filter(owner=user, content_hash=read.content_hash).first()
    if existing and Path(existing.path).exists():
        return existing
    return store_dataset(user, clean_name(folder.resolve().name) or "Imported", read)


class Demo:
    """One job, which a thread shows in the terminal while the server runs."""

    def __init__(self, dataset: Dataset, password: str, epochs: int, stop_at_end: bool) -> None:
        self.exit_status = 1 if stop_at_end else 0
        self._dataset, self._password = dataset, password
        self._epochs, self._stop_at_end = epochs, stop_at_end
        self._console = Console(highlight=False)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, port: int) -> None:
        self._thread = threading.Thread(target=self._show, args=[port], name="demo", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout=3)

    def _show(self, port: int) -> None:
        try:
            job = lifecycle.submit(
                self._dataset.owner,
                self._dataset,
                get_program().parameters(epochs=self._epochs),
                "Demo",
            )
            self._print_address(port, job)
            job = self._follow(job)
            self._print_result(job)
        except Exception:
            self._console.print_exception()
        finally:
            connection.close()
            if self._stop_at_end:
                # Shuts down as Ctrl-C does; SIGINT itself may be ignored in a background shell.
                os.kill(os.getpid(), signal.SIGTERM)

    def _print_address(self, port: int, job: Job) -> None:
        write = self._console.print
        write(f"[bold]http://127.0.0.1:{port}/jobs/{job.pk}[/bold]", soft_wrap=True)
        write(f"Sign in as [bold]{USER}[/bold], password [bold]{self._password}[/bold]")
        write(web_process.startup_banner(), style="dim", soft_wrap=True)

    def _follow(self, job: Job) -> Job:
        last: Epoch | None = None
        best: Epoch | None = None
        with self._progress() as progress:
            task = progress.add_task("starting the trainer", total=job.total_epochs, metrics="")
            while job.status not in FINAL_STATUSES and not self._closed.wait(POLL_SECONDS):
                job.refresh_from_db()
                new = job.epochs.filter(epoch__gt=last.epoch if last else 0)
                for last in new.order_by("epoch"):
                    best = last if last.is_best or best is None else best
                    text = _format_metrics(last, best)
                    progress.update(task, completed=last.epoch, metrics=text)
                    if not self._console.is_terminal:
                        self._console.print(f"epoch {last.epoch}/{job.total_epochs}  {text}")
                progress.update(task, description=_describe(job))
        return job

    def _progress(self) -> Progress:
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("epoch {task.completed}/{task.total}  {task.fields[metrics]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def _print_result(self, job: Job) -> None:
        if job.status not in FINAL_STATUSES:
            self._console.print(
                f"Stopped after epoch {job.current_epoch}; the job continues at the next start."
            )
            return
        if job.status != Status.COMPLETED:
            self._console.print(f"[bold red]{job.status}[/bold red] {job.error_message}")
            return
        self.exit_status = 0
        self._console.print(
            f"[bold green]completed[/bold green] best epoch {job.best_epoch} of "
            f"{job.current_epoch}; errors on the test split:"
        )
        evaluation: Evaluation = TrainedModel.objects.get(job=job).evaluation
        self._console.print(_table(evaluation))
        if verdict := evaluation.get("verdict"):
            self._console.print(verdict)
        if not self._stop_at_end:
            self._console.print("The server keeps running; press Ctrl-C to stop it.")


def _describe(job: Job) -> str:
    if job.status == Status.RUNNING and job.started_at is None:
        return "starting the trainer"
    return str(job.status)


def _format_metrics(last: Epoch, best: Epoch) -> str:
    program = get_program()
    objective, headline = program.metrics[program.objective_metric], program.headline_metric
    latest, at_best = (
        formatter(objective)(epoch.metrics[objective.name]) for epoch in (last, best)
    )
    shown = formatter(headline)(last.metrics[headline.name])
    return f"{objective.title.lower()} {latest} (best {at_best})  {headline.label} {shown}"


def _table(evaluation: Evaluation) -> Table:
    table = Table("", "mean", "RMSE", "median", "p95", box=None)
    rows = {"this model": evaluation["test"], **evaluation["baselines"]}
    for name, metrics in rows.items():
        errors = [
            format_distance(metrics[key]) for key in ("mean_m", "rmse_m", "median_m", "p95_m")
        ]
        table.add_row(baseline_title(name), *errors)
    bound = evaluation.get("bound_rmse_m")
    if isinstance(bound, float):
        table.add_row("Cramér-Rao bound", "", format_distance(bound), "", "")
    return table

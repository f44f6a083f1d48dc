"""The list of jobs of any programs: filtered, sorted, with columns to choose and sweeps folded."""

from __future__ import annotations

import math
import operator
import uuid
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from django.contrib.auth.models import User
from django.db.models import Case, Count, Exists, FloatField, Max, Min, OuterRef, Q, QuerySet, When
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from training.accounts.permissions import (
    signed_in_user,
    visible_in_order,
    visible_parts,
    visible_to,
)
from training.api.keyset_pagination import Page, read_page
from training.api.ordering import JOB_SORT_KEYS
from training.jobs import status as job_status
from training.jobs.objective import headline_metric, headline_name
from training.jobs.projects import DEFAULT_NAME
from training.models import Dataset, Epoch, Job, Project, Sweep
from training.models.expressions import MetricValue
from training.models.states import ACTIVE, Status
from training.programs.registry import describe_program, get_program, list_programs
from training.validation import InvalidInputError
from training.web import formatting
from training.web.charts.line_charts import sparkline
from training.web.job_columns import Cell, Column, columns_of, option_groups
from training.web.job_query import COMPARISONS, MAX_COLUMNS, NEWEST_FIRST, JobQuery
from training.web.sign_in import sign_in_required
from training.workers import registry

PAGE = 30
SPARKLINE_POINTS = 24
MAX_OPTIONS = 200
ORDERINGS = {
    "-created_at": "Newest first", "created_at": "Oldest first", "name": "Name, A to Z",
    "-name": "Name, Z to A", "status": "Status", "best_result": "Best result, smallest first",
    "-best_result": "Best result, largest first", "-current_epoch": "Most epochs first",
    "current_epoch": "Fewest epochs first", "-duration": "Longest first",
    "duration": "Shortest first",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SweepSummary:
    """A sweep that stands for its trials, as far as the user can see them."""

    sweep: Sweep
    trials: int
    finished: int
    counts: str
    best: str
    label: str  # of the metric of `best`
    may_open: bool  # whether the user can view the page of the sweep
    show_trials: str  # URL


@dataclass(frozen=True, slots=True)
class JobRow:
    job: Job
    state: str
    sparkline: SafeString
    sparkline_values: str  # separated by commas, for the script
    cells: list[Cell]
    sweep: SweepSummary | None


@dataclass(frozen=True, slots=True)
class SortLink:
    """The link in a column's heading; `direction` is its `aria-sort`, empty for other columns."""

    url: str
    direction: str

    @classmethod
    def of(cls, query: JobQuery, key: str, descending_first: bool = False) -> SortLink:
        first, second = (f"-{key}", key) if descending_first else (key, f"-{key}")
        following = second if query.ordering == first else first
        direction = ""
        if query.ordering.removeprefix("-") == key:
            direction = "descending" if query.ordering.startswith("-") else "ascending"
        return cls(query.url(ordering="" if following == NEWEST_FIRST else following), direction)


@dataclass(frozen=True, slots=True)
class Headings:
    """Headings of the headline metric's columns; `mixed` if each row has to name its metric."""

    title: str
    help: str
    trend: str
    data: str
    mixed: bool

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> Headings:
        shown = {
            (job.program, name): job
            for job in jobs
            if job.kind == Job.Kind.TRAINING and (name := headline_name(job))
        }
        with_dataset = {bool(job.dataset_id) for job in jobs}
        data = "Program" if with_dataset == {False} else "Dataset"
        data = "Dataset or program" if len(with_dataset) > 1 else data
        if len(shown) > 1:
            help_text = "Each job's own metric at its best epoch"
            return cls("Best result", help_text, "Trend", data, True)
        job = next(iter(shown.values()), None)
        if job is not None and job.reported:
            metric = headline_metric(job)
            return cls(f"{metric.title} (best epoch)", "", f"{metric.label} trend", data, False)
        program = describe_program(job.program) if job else get_program()
        return cls(
            formatting.short_headline_title(program),
            formatting.headline_help(program),
            f"{program.headline_metric.label} trend",
            data,
            False,
        )


@require_safe
@sign_in_required
def job_list(request: HttpRequest) -> HttpResponse:
    """The query string is that of `JobQuery`; `cursor` is the place of the page."""
    user = signed_in_user(request)
    query, problems = JobQuery(request.GET), {}
    visible, parts = visible_in_order(Job.objects.all(), user), visible_parts(user)
    counts, page = {}, Page([], "", "")
    try:
        if "where" in request.GET:
            where, comparison, value = (
                request.GET.get(name, "") for name in ("where", "is", "value")
            )
            return HttpResponseRedirect(query.with_condition(where, comparison, value))
        listed = query.filter(visible)
        counted = [listed]
        if not query.finds_few:
            counted = [query.filter(Job.objects.filter(part)) for part in parts]
        counts = _count_by_status(counted)
        rows = query.rank(query.fold(query.filter_status(listed)))
        rows = rows.select_related("dataset", "owner", "team", "project", "sweep__owner")
        cursor = request.GET.get("cursor", "")
        page = read_page(rows, JOB_SORT_KEYS, query.ordering, cursor, PAGE)
    except InvalidInputError as error:
        problems = error.errors
    projects = {
        str(pk): name
        for pk, name in visible_to(Project.objects.all(), user).values_list("pk", "name")[
            :MAX_OPTIONS
        ]
    }
    columns = columns_of(_columns(query), page.rows)
    context = {
        "query": query,
        "problems": problems,
        "rows": _rows(query, page.rows, columns, visible, user),
        "columns": columns,
        "column_groups": option_groups(query.chosen_columns, page.rows),
        "headings": Headings.of(page.rows),
        "sort": {
            "name": SortLink.of(query, "name"),
            "status": SortLink.of(query, "status"),
            "epochs": SortLink.of(query, "current_epoch", descending_first=True),
            "best": SortLink.of(query, "best_result", _larger_is_better(page.rows)),
            "duration": SortLink.of(query, "duration", descending_first=True),
            "queued": SortLink.of(query, "created_at", descending_first=True),
        },
        "orderings": ORDERINGS.items(),
        "comparisons": COMPARISONS.items(),
        "chips": [
            (value, job_status.STATUS_LABELS[value], counts.get(value, 0), query.url(status=value))
            for value in Status.values
        ],
        "all_url": query.url(status=""),
        "active_filters": query.active_filters({**projects, **_sweep_name(query, user)}),
        "hidden_search": query.hidden("search"),
        "hidden_filters": query.hidden("project", "program", "owner", "ordering"),
        "hidden_columns": query.hidden("columns"),
        "max_columns": MAX_COLUMNS,
        "projects": [(DEFAULT_NAME, DEFAULT_NAME), *projects.items()],
        "programs": [(program.name, program.title) for program in list_programs()],
        "owners": _owners(user, parts),
        "has_sweeps": any(job.sweep_id for job in page.rows) or query["trials"] == "all",
        "fold_url": query.url(trials=""),
        "unfold_url": query.url(trials="all"),
        "workers": registry.list_workers(),
        "total": sum(counts.values()),
        "next": page.next and query.url(cursor=page.next),
        "previous": page.previous and query.url(cursor=page.previous),
        "first_url": query.url(),
        "is_first": "cursor" not in request.GET,
        # The template calls it if the list is empty.
        "any_dataset": visible_to(Dataset.objects.filter(status="ready"), user).first,
    }
    return render(request, "training/jobs.html", context, status=400 if problems else 200)


def _columns(query: JobQuery) -> list[str]:
    """The chosen columns, and the one that the list is sorted by."""
    sorted_by = query.ordering.removeprefix("-")
    added = (
        ["duration"] if sorted_by == "duration" and "duration" not in query.chosen_columns else []
    )
    return [*query.chosen_columns, *added]


def _owners(user: User, parts: Sequence[Q]) -> list[str]:
    if user.is_staff:
        # The first job of each is found sooner than all jobs are read.
        seen = Q(Exists(Job.objects.filter(owner=OuterRef("pk"))))
    else:
        jobs = Job.objects.order_by()
        seen = reduce(operator.or_, (Q(pk__in=jobs.filter(part).values("owner")) for part in parts))
    owners = User.objects.filter(seen).order_by("username")
    return list(owners.values_list("username", flat=True)[:MAX_OPTIONS])


def _sweep_name(query: JobQuery, user: User) -> dict[str, str]:
    try:
        pk = uuid.UUID(query["sweep"])
    except ValueError:
        return {}
    trial = visible_to(Job.objects.filter(sweep=pk), user).select_related("sweep").first()
    return {query["sweep"]: str(trial.sweep)} if trial else {}


def _larger_is_better(jobs: Sequence[Job]) -> bool:
    directions = {
        describe_program(job.program).direction_of(name)
        for job in jobs
        if (name := headline_name(job))
    }
    return directions == {"maximize"}


def _count_by_status(parts: Sequence[QuerySet[Job]]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for jobs in parts:
        rows = jobs.order_by().values_list("status").annotate(count=Count("pk"))
        counts.update(dict(rows.values_list("status", "count")))
    return counts


def _rows(
    query: JobQuery,
    jobs: Sequence[Job],
    columns: Sequence[Column],
    visible: QuerySet[Job],
    user: User,
) -> list[JobRow]:
    sweeps = [job.sweep for job in jobs if job.sweep] if query.folded else []
    summaries = _summarize(query, sweeps, visible, user)
    singles = [job for job in jobs if job.sweep_id not in summaries]
    values = dict(with_sparklines(singles))
    return [
        JobRow(
            job=job,
            state=job.display_status,
            sparkline=sparkline_of(job, values.get(job, [])),
            sparkline_values=",".join(
                "" if value is None else f"{value:.6g}" for value in values.get(job, [])
            ),
            cells=[column.cell_of(job) for column in columns],
            sweep=summaries.get(job.sweep_id) if job.sweep_id else None,
        )
        for job in jobs
    ]


def _summarize(
    query: JobQuery, sweeps: Sequence[Sweep], visible: QuerySet[Job], user: User
) -> Mapping[uuid.UUID, SweepSummary]:
    """The sweeps by ID, in one query."""
    if not sweeps:
        return {}
    found: defaultdict[uuid.UUID, dict[str, int]] = defaultdict(dict)
    bests: defaultdict[uuid.UUID, list[float]] = defaultdict(list)
    grouped = visible.filter(sweep__in=sweeps).order_by().values("sweep", "status")
    for row in grouped.annotate(
        count=Count("pk"), low=Min("headline_value"), high=Max("headline_value")
    ):
        found[row["sweep"]][row["status"]] = row["count"]
        bests[row["sweep"]] += [value for value in (row["low"], row["high"]) if value is not None]
    return {
        sweep.pk: _summary(query, sweep, found[sweep.pk], bests[sweep.pk], user) for sweep in sweeps
    }


def _summary(
    query: JobQuery, sweep: Sweep, counts: Mapping[str, int], values: Sequence[float], user: User
) -> SweepSummary:
    program = describe_program(sweep.program)
    metric = program.headline_metric
    largest = program.direction_of(program.headline_name) == "maximize"
    best = (max if largest else min)(values) if values else None
    return SweepSummary(
        sweep=sweep,
        trials=sum(counts.values()),
        finished=sum(
            count for state, count in counts.items() if state not in (*ACTIVE, Status.PAUSED)
        ),
        counts=", ".join(
            f"{counts[state]:,} {job_status.STATUS_LABELS[state].lower()}"
            for state in Status.values
            if counts.get(state)
        ),
        best=formatting.formatter(metric)(best),
        label=metric.label if values else "",
        may_open=_may_open(sweep, user),
        show_trials=query.url(sweep=str(sweep.pk)),
    )


def _may_open(sweep: Sweep, user: User) -> bool:
    """`visible_to` for one sweep, without a query for most."""
    if user.is_staff or sweep.owner_id == user.pk:
        return True
    return sweep.team_id is not None and user.groups.filter(pk=sweep.team_id).exists()


def sparkline_of(job: Job, values: list[float | None]) -> SafeString:
    return sparkline(values, f"{headline_metric(job).title} by epoch")


def with_sparklines(jobs: Sequence[Job]) -> list[tuple[Job, list[float | None]]]:
    """Each job of a page with its headline metric at evenly spaced epochs, in one query."""
    jobs_by_metric, jobs_by_epochs = defaultdict(list), defaultdict(list)
    for job in jobs:
        if job.current_epoch and (name := headline_name(job)):
            jobs_by_metric[name].append(job)
            jobs_by_epochs[job.current_epoch].append(job)
    # The first condition must be one that can hold: otherwise SQLite reads all epochs.
    sampled_epochs = [
        Q(job__in=alike, epoch__in=_evenly_spaced(last)) for last, alike in jobs_by_epochs.items()
    ]
    found: defaultdict[uuid.UUID, list[float | None]] = defaultdict(list)
    if jobs_by_metric:
        value = Case(
            *(
                When(job__in=reporting, then=MetricValue("metrics", name=name))
                for name, reporting in jobs_by_metric.items()
            ),
            output_field=FloatField(),
        )
        rows = Epoch.objects.filter(reduce(operator.or_, sampled_epochs)).order_by(
            "job_id", "epoch"
        )
        for pk, number in rows.values_list("job_id", value):
            found[pk].append(number if number is not None and math.isfinite(number) else None)
    return [(job, found[job.pk]) for job in jobs]


def _evenly_spaced(last: int) -> set[int]:
    count = min(last, SPARKLINE_POINTS)
    return {1 + round(index * (last - 1) / max(count - 1, 1)) for index in range(count)}

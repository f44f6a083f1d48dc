"""The admin for jobs: a live list with bulk actions."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from training.accounts.limits import LimitReachedError
from training.accounts.permissions import signed_in_user
from training.admin.filters import CreationTimeFilter, RequestedActionFilter
from training.admin.readonly import ReadOnly
from training.jobs import lifecycle, results
from training.jobs.attempts import Attempt, SupersededError
from training.jobs.search import search_for_staff
from training.models import Job
from training.models.states import Status
from training.programs.registry import get_program
from training.storage import disk_usage
from training.templatetags.formatting import ago, headline, headline_attributes, state_pill
from training.validation import InvalidInputError
from training.web import formatting
from training.web.actions import JOB_ACTIONS, Action, perform_action
from training.web.config_rows import config_rows
from training.web.create_once import create_once
from training.web.forms import JobForm, add_validation_errors
from training.web.views.responses import HttpResponseSeeOther


def _perform_on_each(request: HttpRequest, rows: QuerySet[Job], action: Action[Job]) -> None:
    for job in rows:
        perform_action(request, job, action, label=str(job))


def requeue(job: Job, actor: str) -> None:
    """Take a running job from its worker, or resume a job that is not running.

    Raises ConflictError if the job can be neither requeued nor resumed.
    """
    if job.status != Status.RUNNING:
        lifecycle.resume(job, actor)
        return
    try:
        reason = f"Requeued by {actor}."
        results.requeue_or_fail(Attempt(job.pk, job.attempt), actor, "requeued", reason)
    except SupersededError:
        raise lifecycle.ConflictError(Job.objects.get(pk=job.pk), "requeue") from None


_BEST = formatting.short_headline_title(get_program())


@admin.register(Job)
class JobAdmin(ReadOnly):
    list_display = ("name_and_page", "state", "progress", "best", "heartbeat", "owner_name",
                    "created")  # fmt: skip
    list_display_links = None
    list_filter = ("status", "kind", ("stop_requested", RequestedActionFilter), "owner", "team",
                   ("created_at", CreationTimeFilter))  # fmt: skip
    # Shows the search; `get_search_results` decides what is searched.
    search_fields = ("name",)
    search_help_text = "Name, dataset, owner, tag, ID, worker, or a part of an error message"
    show_full_result_count = False
    list_select_related = ("owner", "dataset")
    list_per_page = 50
    actions = ("pause", "resume", "cancel", "requeue", "delete_inactive")
    change_list_template = "admin/training/job/change_list.html"
    fieldsets: ClassVar = [
        (None, {"fields": ["live_page", "state", "progress", "best", "heartbeat",
                           "error_message"]}),
        ("Configuration", {"fields": ["name", "kind", "owner", "team", "dataset",
                                           "parent", "notes", "labels", "settings"]}),
        ("Execution", {"fields": ["created_at", "started_at", "finished_at", "attempt",
                                    "crashes", "worker", "lease_expires_at", "seq", "sent_seq",
                                    "checkpoint_path", "disk"]}),
    ]  # fmt: skip
    readonly_fields = ("live_page", "state", "progress", "best", "heartbeat", "labels", "settings",
                       "disk")  # fmt: skip

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Job], search_term: str
    ) -> tuple[QuerySet[Job], bool]:
        text = search_term.strip()
        return search_for_staff(queryset, text) if text else queryset, False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_staff)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        form = JobForm(signed_in_user(request), get_program(), request.POST or None)
        if form.is_valid():
            try:
                return HttpResponseSeeOther(create_once(request, "job", form.submit).url)
            except LimitReachedError as error:
                form.add_error(None, str(error))
            except InvalidInputError as error:
                add_validation_errors(form, error)
        context = {**self.admin_site.each_context(request), "title": "New job",
                   "form": form, "opts": self.opts}  # fmt: skip
        return TemplateResponse(request, "admin/training/job/launch.html", context,
                                status=400 if form.is_bound else 200)  # fmt: skip

    @admin.display(description="job", ordering="name")
    def name_and_page(self, job: Job) -> SafeString:
        here = reverse("admin:training_job_change", args=[job.pk])
        html = '<a href="{}" data-job="{}" data-state="{}"><b>{}</b></a> <a href="{}">live</a>'
        live = reverse("job", args=[job.pk])
        return format_html(html, here, job.pk, job.display_status, str(job), live)

    @admin.display(description="status", ordering="status")
    def state(self, job: Job) -> SafeString:
        return state_pill(job.display_status)

    @admin.display(description="progress", ordering="current_epoch")
    def progress(self, job: Job) -> SafeString:
        if job.kind == Job.Kind.TRAINING:
            done, total = job.current_epoch, job.total_epochs
        else:
            done, total = job.generated, int(job.config.get("samples", 0))
        percent = f"{formatting.format_fixed(job.progress_percent, 0)} %"
        return format_html(
            '<progress class="{}" max="100" value="{}" aria-label="Progress of {}"></progress>'
            '<small><span data-field="epoch">{}</span> <span data-field="percent">{}</span>'
            "</small>",
            job.status,
            f"{job.progress_percent:.2f}",
            str(job),
            f"{done:,} / {total:,}" if total else f"{done:,}",
            percent if job.has_known_progress else "",
        )

    @admin.display(description=_BEST, ordering="headline_value")
    def best(self, job: Job) -> SafeString:
        return format_html("<span {}>{}</span>", headline_attributes(job), headline(job))

    @admin.display(description="heartbeat", ordering="heartbeat_at")
    def heartbeat(self, job: Job) -> SafeString:
        return ago(job.heartbeat_at if job.status == Status.RUNNING else None)

    @admin.display(description="queued", ordering="created_at")
    def created(self, job: Job) -> SafeString:
        return ago(job.created_at)

    @admin.display(description="owner", ordering="owner__username")
    def owner_name(self, job: Job) -> str:
        return job.owner.username

    @admin.display(description="page")
    def live_page(self, job: Job) -> SafeString:
        return format_html('<a href="{}">Open {}</a>', reverse("job", args=[job.pk]), job)

    @admin.display(description="on disk")
    def disk(self, job: Job) -> str:
        return formatting.format_size(disk_usage.job_bytes(job.pk))

    @admin.display(description="tags")
    def labels(self, job: Job) -> str:
        return ", ".join(job.tags) or "-"

    @admin.display(description="configuration")
    def settings(self, job: Job) -> SafeString:
        parameters = ((row.title, row.value) for row in config_rows(job, job.parent))
        rows = format_html_join("", "<li>{} <b>{}</b></li>", parameters)
        return format_html('<ul class="settings">{}</ul>', rows)

    @admin.action(description="Pause selected jobs (after the current epoch)")
    def pause(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        _perform_on_each(request, rows, JOB_ACTIONS["pause"])

    @admin.action(description="Resume selected jobs from their last checkpoint")
    def resume(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        _perform_on_each(request, rows, JOB_ACTIONS["resume"])

    @admin.action(description="Cancel selected jobs")
    def cancel(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        _perform_on_each(request, rows, JOB_ACTIONS["cancel"])

    @admin.action(description="Requeue selected jobs")
    def requeue(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        _perform_on_each(request, rows, Action(requeue, "Requeued."))

    @admin.action(description="Delete selected jobs (finished or paused only)")
    def delete_inactive(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        _perform_on_each(
            request, rows, Action(lambda job, _: lifecycle.delete_job(job), "Deleted.")
        )

"""The form that edits the name, notes and tags of a job."""

from __future__ import annotations

import uuid

from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods

from training.accounts.permissions import signed_in_user, visible_to
from training.jobs import lifecycle
from training.jobs.metadata import Metadata
from training.models import Job
from training.models.states import Status
from training.validation import InvalidInputError, validate
from training.web import drafts
from training.web.form_errors import ValidatedForm
from training.web.forms import priority_field
from training.web.sign_in import sign_in_required
from training.web.views.responses import redirect_see_other


class MetadataForm(ValidatedForm):
    name = forms.CharField(max_length=200, required=False, help_text="Optional.")
    tags = forms.CharField(required=False, help_text="Comma-separated.")
    notes = forms.CharField(
        max_length=20_000,
        required=False,
        widget=forms.Textarea({"rows": 6}),
        help_text="For example, what you wanted to find out and what you found.",
    )

    def clean_tags(self) -> list[str]:
        words = (word.strip() for word in self.cleaned_data["tags"].split(","))
        return list(dict.fromkeys(word for word in words if word))

    def clean(self) -> None:
        super().clean()
        cleaned = dict(self.cleaned_data)  # add_error deletes a field from the original
        try:
            cleaned.pop("priority", None)
            self.metadata = validate(Metadata, cleaned)
        except InvalidInputError as error:
            for name, sentences in error.errors.items():
                field, _, place = name.partition(".")
                which = f"“{cleaned[field][int(place)]}”: " if place else ""
                self.add_error(field, [f"{which}{sentence}" for sentence in sentences])


@drafts.keeps_draft
@require_http_methods(["GET", "HEAD", "POST"])
@sign_in_required
def edit_job(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    job = get_object_or_404(visible_to(Job.objects.all(), signed_in_user(request)), pk=pk)
    user = signed_in_user(request)
    now = {"name": job.name, "notes": job.notes, "tags": ", ".join(job.tags),
           "priority": job.priority}  # fmt: skip
    form = MetadataForm(request.POST or None, initial=now)
    # If the job has started since the form was shown, the field says why nothing was saved.
    if job.status in (Status.QUEUED, Status.PAUSED) or "priority" in request.POST:
        form.fields["priority"] = priority_field(user)
        form.fields["priority"].required = False
    drafts.fill(form, drafts.take(request))
    if request.method == "POST" and form.is_valid():
        try:
            _save(job, user, form)
        except lifecycle.ConflictError as conflict:
            form.add_error("priority", str(conflict))
        else:
            messages.success(request, "Saved.")
            return redirect_see_other("job", pk)
    context = {"form": form, "job": job}
    return render(request, "training/job_edit.html", context, status=400 if form.is_bound else 200)


def _save(job: Job, user: User, form: MetadataForm) -> None:
    priority = form.cleaned_data.get("priority")
    with transaction.atomic():
        if priority is not None and priority != job.priority:
            lifecycle.set_priority(job, priority, user)
        lifecycle.update_metadata(job, **form.metadata.model_dump())

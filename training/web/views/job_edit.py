"""The form that edits the name, notes and tags of a job."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods

from training.accounts.permissions import signed_in_user, visible_to
from training.jobs import lifecycle
from training.jobs.metadata import Metadata
from training.models import Job
from training.validation import InvalidInputError, validate
from training.web.views.responses import redirect_see_other


class MetadataForm(forms.Form):
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

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        try:
            self.metadata = validate(Metadata, cleaned)
        except InvalidInputError as error:
            for name, sentences in error.errors.items():
                field, _, place = name.partition(".")
                which = f"“{cleaned[field][int(place)]}”: " if place else ""
                self.add_error(field, [f"{which}{sentence}" for sentence in sentences])
        return cleaned


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def edit_job(request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
    job = get_object_or_404(visible_to(Job.objects.all(), signed_in_user(request)), pk=pk)
    now = {"name": job.name, "notes": job.notes, "tags": ", ".join(job.tags)}
    form = MetadataForm(request.POST or None, initial=now)
    if request.method == "POST" and form.is_valid():
        lifecycle.update_metadata(job, **form.metadata.model_dump())
        messages.success(request, "Saved.")
        return redirect_see_other("job", pk)
    context = {"form": form, "job": job}
    return render(request, "training/job_edit.html", context, status=400 if form.is_bound else 200)

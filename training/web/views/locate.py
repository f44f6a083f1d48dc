"""The page that estimates the positions of transmitters from readings, and maps them."""

from __future__ import annotations

import uuid

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from training.accounts.limits import LimitReachedError
from training.accounts.permissions import signed_in_user, visible_to
from training.api.exports.positions import FORMATS, positions_response
from training.api.held_places import count_download
from training.api.predictions import model_file
from training.models import Job, TrainedModel
from training.web import drafts
from training.web.locate_form import Receivers, compute_outcome, reading_inputs, shown_text
from training.web.locate_results import results
from training.web.sign_in import sign_in_required

MAX_CHOICES = 100  # models in the chooser
_NEWEST = 20  # models whose file is looked for


@require_safe
@sign_in_required
def locate_newest(request: HttpRequest) -> HttpResponse:
    """Redirect to the chosen model, or to the newest usable one."""
    models = _models(request)
    if chosen := request.GET.get("model", ""):
        try:
            pk = uuid.UUID(chosen)
        except ValueError:
            raise Http404("This is not the ID of a model.") from None
        return redirect("locate", get_object_or_404(models, pk=pk).pk)
    usable = (model for model in models[:_NEWEST] if model_file(model).exists())
    if newest := next(usable, None):
        return redirect("locate", newest.pk)
    return render(request, "training/locate_empty.html")


@drafts.keeps_draft
@require_http_methods(["GET", "HEAD", "POST"])
@sign_in_required
def locate(request: HttpRequest, pk: uuid.UUID) -> HttpResponseBase:
    """POST answers with the page, or with a file if `download` names its source and format."""
    model = get_object_or_404(_models(request), pk=pk)
    receivers = Receivers(model)
    typed = request.POST if request.method == "POST" else drafts.take(request) or QueryDict()
    outcome = None
    if request.method == "POST":
        source, _, name = typed.get("download", "").partition("-")
        outcome = compute_outcome(request, model, receivers, source or typed.get("source", ""))
        if name in FORMATS and not outcome.is_refused:
            try:
                response = positions_response(request, name, outcome.positions)
                return count_download(signed_in_user(request), response)
            except LimitReachedError as error:
                outcome.problems.append(str(error))
    context = {
        "model": model,
        "job": model.job,
        "choices": _choices(request, model),
        "receivers": receivers.all,
        "out_of_service": typed.getlist("out_of_service"),
        "outcome": outcome,
        "text": shown_text(typed, outcome),
        "formats": [(name, one.title) for name, one in FORMATS.items()],
        **reading_inputs(model, receivers, typed, outcome),
        **results(receivers, outcome),
    }
    status = 400 if outcome and outcome.is_refused else 200
    return render(request, "training/locate.html", context, status=status)


def _models(request: HttpRequest) -> QuerySet[TrainedModel]:
    jobs = visible_to(Job.objects.all(), signed_in_user(request))
    return TrainedModel.objects.filter(job__in=jobs).select_related("job", "job__dataset")


def _choices(request: HttpRequest, model: TrainedModel) -> list[TrainedModel]:
    """The newest models and this one; empty if there is no other."""
    newest = list(_models(request)[:MAX_CHOICES])
    if model not in newest:
        newest.append(model)
    return newest if len(newest) > 1 else []

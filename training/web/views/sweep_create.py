"""The form that creates a sweep."""

from __future__ import annotations

import uuid
from typing import Any

from django import forms
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from training.accounts.permissions import signed_in_user, visible_to
from training.jobs.policy import QueuePolicy
from training.models import Job, Sweep
from training.programs.registry import get_program
from training.sweeps import lifecycle, scheduler, space_syntax
from training.sweeps.spec import EarlyStopping, SweepSpec, validate_spec
from training.validation import InvalidInputError
from training.web.forms import JobForm, add_validation_errors, model_field
from training.web.views.responses import redirect_see_other

VARY, BASE = "vary_", "base_"
SEARCH = ("method", "trials", "max_parallel", "objective", "seed")
EXAMPLES = {
    "learning_rate": "0.0003 to 0.01 log", "batch_size": "32, 64, 128", "hidden": "64, 128, 256",
    "layers": "1 to 4 step 1", "dropout": "0.0 to 0.3", "model": "mlp, attention",
    "seed": "0, 1, 2",
}  # fmt: skip


PARAMETERS = tuple(get_program().parameters.model_fields)
SHARED = (*PARAMETERS, *QueuePolicy.model_fields)


class SweepForm(forms.Form):
    """All fields of a SweepSpec; `vary_X` and `base_X` for each training parameter X."""

    name = forms.CharField(max_length=200, help_text="Shown in lists.")

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        base = JobForm(user)
        self.fields["dataset"] = base.fields["dataset"]
        for name in SEARCH:
            self.fields[name] = model_field(SweepSpec.model_fields[name])
        for name, info in EarlyStopping.model_fields.items():
            self.fields[f"early_stopping_{name}"] = model_field(info)
        for name in PARAMETERS:
            self.fields[VARY + name] = forms.CharField(
                label=base.fields[name].label,
                required=False,
                max_length=2000,
                widget=forms.TextInput({"placeholder": EXAMPLES.get(name, "")}),
            )
        for name in SHARED:
            self.fields[BASE + name] = base.fields[name]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if not any(cleaned.get(VARY + name, "").strip() for name in PARAMETERS):
            self.add_error(None, "The search space is empty: enter values for a parameter.")
        if self.errors:
            return cleaned
        try:
            self.spec = validate_spec(self._spec_data(cleaned))
        except InvalidInputError as error:
            add_validation_errors(self, error, self._field_of)
        return cleaned

    def _spec_data(self, cleaned: dict[str, Any]) -> dict[str, Any]:
        """The spec as a client would send it to the API."""
        varied = {name: cleaned[VARY + name].strip() for name in PARAMETERS}
        return {
            "name": cleaned["name"],
            "dataset_id": str(cleaned["dataset"].pk),
            "config": {name: cleaned[BASE + name] for name in SHARED if not varied.get(name)},
            "space": {
                name: space_syntax.parse_options(text) for name, text in varied.items() if text
            },
            "early_stopping": {
                name: cleaned[f"early_stopping_{name}"] for name in EarlyStopping.model_fields
            },
            **{name: cleaned[name] for name in SEARCH},
        }

    def _field_of(self, name: str) -> str:
        kind, _, rest = name.partition(".")
        known = {"space": VARY, "config": BASE, "early_stopping": "early_stopping_"}
        return known.get(kind, kind) + rest if rest else name

    def search_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in ("dataset", "name", *SEARCH)]

    def stopping_fields(self) -> list[forms.BoundField]:
        return [self[f"early_stopping_{name}"] for name in EarlyStopping.model_fields]

    def varied_fields(self) -> list[forms.BoundField]:
        return [self[VARY + name] for name in PARAMETERS]

    def shared_fields(self) -> list[forms.BoundField]:
        return [self[BASE + name] for name in SHARED]


@login_required
def create_sweep(request: HttpRequest) -> HttpResponse:
    """Create a sweep; `like` is the ID of a job (fixed parameters) or of a sweep to clone."""
    user = signed_in_user(request)
    form = SweepForm(user, request.POST or None, initial=_initial_values(request, user))
    if request.method == "POST" and form.is_valid():
        sweep = lifecycle.create(user, form.cleaned_data["dataset"], form.spec)
        scheduler.advance_sweep(sweep.pk)
        return redirect_see_other("sweep", sweep.pk)
    context = {"form": form, "help": space_syntax.HELP}
    code = 400 if form.is_bound else 200
    return render(request, "training/sweep_create.html", context, status=code)


def _initial_values(request: HttpRequest, user: User) -> dict[str, Any]:
    """Initial form values from the query string."""
    try:
        like = uuid.UUID(request.GET.get("like", ""))
    except ValueError:
        dataset = request.GET.get("dataset")
        return {"dataset": dataset} if dataset else {}
    job = visible_to(Job.objects.filter(pk=like, kind=Job.Kind.TRAINING), user).first()
    if job is not None:
        shared = job.config | QueuePolicy.of(job).model_dump()
        base = {BASE + name: value for name, value in shared.items()}
        return {**base, "dataset": job.dataset_id, "name": job.name}
    sweep = visible_to(Sweep.objects.filter(pk=like), user).first()
    if sweep is None:
        return {}
    return {
        **{BASE + name: value for name, value in (sweep.config | sweep.policy).items()},
        **{VARY + name: space_syntax.format_options(given) for name, given in sweep.space.items()},
        **{f"early_stopping_{name}": value for name, value in sweep.early_stopping.items()},
        **{name: getattr(sweep, name) for name in SEARCH if name != "trials"},
        "trials": sweep.total_trials, "name": sweep.name, "dataset": sweep.dataset_id,
    }  # fmt: skip

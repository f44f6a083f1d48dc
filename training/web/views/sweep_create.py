"""The form that creates a sweep."""

from __future__ import annotations

import uuid
from typing import Any, get_args

from django import forms
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from pydantic import JsonValue

from training.accounts.limits import LimitReachedError
from training.accounts.permissions import NoSuchTeamError, signed_in_user, visible_to
from training.jobs.policy import QueuePolicy
from training.models import Job, Sweep
from training.programs.manifest import Program
from training.programs.registry import DEFAULT_PROGRAM, list_programs
from training.sweeps import lifecycle, scheduler, space_syntax
from training.sweeps.spec import EarlyStopping, SweepSpec, validate_spec
from training.validation import InvalidInputError
from training.web import drafts
from training.web.create_once import create_once
from training.web.form_errors import ValidatedForm
from training.web.forms import InitialValues, JobForm, add_validation_errors, model_field
from training.web.sign_in import sign_in_required
from training.web.views.responses import HttpResponseSeeOther, get_program_or_404

VARY, BASE = "vary_", "base_"
SEARCH = ("method", "trials", "max_parallel", "objective", "seed")
GRAMMAR = f"Write, for example, {space_syntax.HELP}."
EXAMPLES = {
    "learning_rate": "0.0003 to 0.01 log", "batch_size": "32, 64, 128", "hidden": "64, 128, 256",
    "layers": "1 to 4 step 1", "dropout": "0.0 to 0.3", "model": "mlp, attention",
    "seed": "0, 1, 2",
}  # fmt: skip


class SweepForm(ValidatedForm):
    """All fields of a SweepSpec; `vary_X` and `base_X` for each training parameter X."""

    name = forms.CharField(max_length=200, help_text="Shown in lists.")

    def __init__(self, user: User, program: Program, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.program = program
        self.parameters = tuple(program.parameters.model_fields)
        self.shared = (*self.parameters, *QueuePolicy.model_fields)
        base = JobForm(user, program)
        if "team" in base.fields:
            self.fields["team"] = base.fields["team"]
        if program.datasets:
            self.fields["dataset"] = base.fields["dataset"]
        for name in SEARCH:
            self.fields[name] = model_field(SweepSpec.model_fields[name])
        self.fields["objective"] = forms.ChoiceField(
            choices=[
                (name, program.metrics.describe(name).title) for name in program.objective_choices
            ],
            initial=next(iter(program.objective_choices), None),
            help_text="The metric that ranks trials, at each trial's best epoch.",
        )
        for name, info in EarlyStopping.model_fields.items():
            self.fields[f"early_stopping_{name}"] = model_field(info)
        for name in self.parameters:
            self.fields[VARY + name] = forms.CharField(
                label=base.fields[name].label,
                required=False,
                max_length=2000,
                widget=forms.TextInput({"placeholder": EXAMPLES.get(name, "")}),
            )
        for name in self.shared:
            self.fields[BASE + name] = base.fields[name]

    def clean(self) -> None:
        super().clean()
        if not any(self.cleaned_data.get(VARY + name, "").strip() for name in self.parameters):
            self.add_error(
                None,
                "The search space is empty: enter values for a parameter, for example "
                f"{space_syntax.HELP}.",
            )
        space = self._parse_space()
        if self.errors:
            return
        try:
            self.spec = validate_spec(self._spec_data(space))
        except InvalidInputError as error:
            add_validation_errors(self, error, self.field_of)
            for name in list(self.errors):
                if name.startswith(VARY):
                    self.add_error(name, GRAMMAR)

    def _parse_space(self) -> dict[str, JsonValue]:
        """The space of each varied parameter; marks the fields whose text is ambiguous."""
        space: dict[str, JsonValue] = {}
        for name in self.parameters:
            text = self.cleaned_data.get(VARY + name, "").strip()
            fractions = float in _types(self.program.parameters.model_fields[name].annotation)
            try:
                if text:
                    space[name] = space_syntax.parse_options(text, fractions=fractions)
            except space_syntax.SyntaxFormatError as error:
                self.add_error(VARY + name, str(error))
        return space

    def _spec_data(self, space: dict[str, JsonValue]) -> dict[str, JsonValue]:
        """The spec as a client would send it to the API."""
        cleaned = self.cleaned_data
        return {
            "name": cleaned["name"],
            "program": self.program.name,
            "dataset_id": str(cleaned["dataset"].pk) if "dataset" in cleaned else None,
            "config": {name: cleaned[BASE + name] for name in self.shared if name not in space},
            "space": space,
            "team": team.name if (team := cleaned.get("team")) else None,
            "early_stopping": {
                name: cleaned[f"early_stopping_{name}"] for name in EarlyStopping.model_fields
            },
            **{name: cleaned[name] for name in SEARCH},
        }

    def field_of(self, name: str) -> str:
        kind, _, rest = name.partition(".")
        known = {"space": VARY, "config": BASE, "early_stopping": "early_stopping_"}
        return known.get(kind, kind) + rest if rest else name

    def search_fields(self) -> list[forms.BoundField]:
        names = ("dataset", "name", *SEARCH, "team")
        return [self[name] for name in names if name in self.fields]

    def stopping_fields(self) -> list[forms.BoundField]:
        return [self[f"early_stopping_{name}"] for name in EarlyStopping.model_fields]

    def varied_fields(self) -> list[forms.BoundField]:
        return [self[VARY + name] for name in self.parameters]

    def shared_fields(self) -> list[forms.BoundField]:
        return [self[BASE + name] for name in self.shared]


@drafts.keeps_draft
@sign_in_required
def create_sweep(request: HttpRequest) -> HttpResponse:
    """Create a sweep; `like` is the ID of a job (fixed parameters) or of a sweep to clone."""
    user = signed_in_user(request)
    like = _like(request, user)
    name = like.program if like else request.GET.get("program", DEFAULT_PROGRAM)
    program = get_program_or_404(name)
    initial = _initial_values(request, user, like)
    form = SweepForm(user, program, request.POST or None, initial=initial)
    drafts.fill(form, drafts.take(request))
    if request.method == "POST" and form.is_valid():
        try:
            creation = create_once(
                request,
                "sweep",
                lambda: lifecycle.create(user, form.cleaned_data.get("dataset"), form.spec),
            )
        except LimitReachedError as error:
            form.add_error(None, str(error))
        except NoSuchTeamError as error:  # the user left the team since the form was checked
            form.add_error("team", str(error))
        except InvalidInputError as error:
            add_validation_errors(form, error, form.field_of)
        else:
            if creation.row:
                scheduler.advance_sweep(creation.row.pk)
            return HttpResponseSeeOther(creation.url)
    context = {
        "form": form,
        "program": program,
        "programs": [] if like else list_programs(),
        "help": space_syntax.HELP,
    }
    code = 400 if form.is_bound else 200
    return render(request, "training/sweep_create.html", context, status=code)


def _types(annotation: object) -> tuple[object, ...]:
    """The types of a union, or the single type."""
    return get_args(annotation) or (annotation,)


def _like(request: HttpRequest, user: User) -> Job | Sweep | None:
    """The job or sweep whose values the form starts with."""
    try:
        like = uuid.UUID(request.GET.get("like", ""))
    except ValueError:
        return None
    jobs = Job.objects.filter(pk=like, kind=Job.Kind.TRAINING, reported=False)
    return visible_to(jobs, user).first() or visible_to(Sweep.objects.filter(pk=like), user).first()


def _initial_values(request: HttpRequest, user: User, like: Job | Sweep | None) -> InitialValues:
    if like is None:
        dataset = request.GET.get("dataset")
        return {"dataset": dataset} if dataset else {}
    if isinstance(like, Job):
        shared = like.config | QueuePolicy.of(like).allowed_for(user).model_dump()
        base = {BASE + name: value for name, value in shared.items()}
        return {**base, "dataset": like.dataset_id, "name": like.name, "team": like.team_id}
    sweep = like
    policy = QueuePolicy.model_validate(sweep.policy).allowed_for(user).model_dump()
    return {
        **{BASE + name: value for name, value in (sweep.config | policy).items()},
        **{VARY + name: space_syntax.format_options(given) for name, given in sweep.space.items()},
        **{f"early_stopping_{name}": value for name, value in sweep.early_stopping.items()},
        **{name: getattr(sweep, name) for name in SEARCH if name != "trials"},
        "trials": sweep.total_trials, "name": sweep.name, "dataset": sweep.dataset_id,
        "team": sweep.team_id,
    }  # fmt: skip

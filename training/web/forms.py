"""Forms generated from the models of `training.programs`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, MaxLen
from django import forms
from django.contrib.auth.models import Group, User
from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from training.accounts.permissions import teams_of, visible_to
from training.datasets import service as datasets
from training.jobs import lifecycle
from training.jobs.policy import QueuePolicy
from training.models import Dataset, Job
from training.programs.registry import get_program
from training.validation import InvalidInputError, extract, validate


def add_validation_errors(
    form: forms.Form, error: InvalidInputError, field_of: Callable[[str], str] = str
) -> None:
    """Show each error at its form field, or above the form if it has none.

    `field_of` translates the name of an invalid value to that of a form field.
    """
    for name, sentences in error.errors.items():
        field = field_of(name)
        form.add_error(field if field in form.fields else None, sentences)


class ConfigForm(forms.Form):
    """A form generated from, and validated by, a pydantic model."""

    model: type[BaseModel]
    excluded: Sequence[str] = ()
    main: Sequence[str] = ()
    # Blank values of these fields fall back to the model's default.
    optional: Sequence[str] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, info in self.model.model_fields.items():
            if name not in self.excluded:
                self.fields[name] = model_field(info)
            if name in self.optional:
                self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        data = {name: cleaned[name] for name in self.model.model_fields if name in cleaned}
        for name in self.optional:
            if data[name] in ("", None):
                del data[name]
        try:
            self.config = validate(self.model, data)
        except InvalidInputError as error:
            add_validation_errors(self, error)
        return cleaned

    def share_with(self, user: User) -> None:
        """Add a team field if the user belongs to a team."""
        teams = teams_of(user)
        if teams.exists():
            self.fields["team"] = forms.ModelChoiceField(
                teams,
                required=False,
                label="Share with",
                empty_label="No team",
                help_text="Team members can view and control it.",
            )
            self.order_fields(["dataset", "name", "file", "team"])

    @property
    def team(self) -> Group | None:
        return cast("Group | None", self.cleaned_data.get("team"))

    def main_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if self._is_main(name)]

    def further_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in self.fields if not self._is_main(name)]

    def _is_main(self, name: str) -> bool:
        return name in self.main or name not in self.model.model_fields


def job_fields() -> type[BaseModel]:
    """Hyperparameters and queue policy in one model, as the form shows them."""
    bases = (get_program().parameters, QueuePolicy)
    return cast("type[BaseModel]", create_model("JobFields", __base__=bases))


class JobForm(ConfigForm):
    model = job_fields()
    main = get_program().main_parameters

    dataset = forms.ModelChoiceField(Dataset.objects.none(), empty_label=None)
    name = forms.CharField(max_length=200, required=False, help_text="Optional.")
    notes = forms.CharField(
        max_length=20_000,
        required=False,
        initial="",
        widget=forms.Textarea({"rows": 2}),
        help_text="Optional. For example, what you want to find out.",
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        ready = visible_to(Dataset.objects.filter(status=Dataset.State.READY), user)
        self.fields["dataset"].queryset = ready  # type: ignore[attr-defined]
        self.share_with(user)

    def submit(self, parent: Job | None = None) -> Job:
        """Queue the job; a clone inherits the tags of its parent."""
        return lifecycle.submit(
            self.user,
            self.cleaned_data["dataset"],
            extract(get_program().parameters, self.config),
            self.cleaned_data["name"],
            policy=extract(QueuePolicy, self.config),
            notes=self.cleaned_data["notes"],
            tags=parent.tags if parent else (),
            parent=parent,
            team=self.team,
        )


class GenerateForm(ConfigForm):
    """Generates a synthetic dataset with the default receivers."""

    model: type[BaseModel] = get_program().dataset_format.generation_options
    excluded = ("receivers",)
    main = ("samples", "seed")

    name = forms.CharField(max_length=200, help_text="Shown in lists.")

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        # Two forms are on one page, so their element IDs need a prefix.
        super().__init__(*args, **{"auto_id": "generate_%s", **kwargs})
        self.user = user
        self.share_with(user)

    def submit(self) -> Job:
        name = self.cleaned_data["name"]
        return lifecycle.submit_generation(self.user, name, self.config, self.team)


class ImportForm(ConfigForm):
    model: type[BaseModel] = get_program().dataset_format.import_options
    optional = tuple(model.model_fields)

    name = forms.CharField(max_length=200, help_text="Shown in lists.")
    file = forms.FileField(
        label="Zip file", help_text="Contains receivers.csv, samples.csv and measurements.csv."
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"auto_id": "import_%s", **kwargs})
        self.user = user
        self.share_with(user)

    def store(self) -> Dataset:
        """Import the uploaded file; raises what `datasets.import_upload` raises."""
        name, file = self.cleaned_data["name"], self.cleaned_data["file"]
        dataset = datasets.import_upload(self.user, name, file, self.config)
        if self.team:
            datasets.share_dataset(dataset, self.team)
        return dataset


def model_field(info: FieldInfo) -> forms.Field:
    options: dict[str, Any] = {
        "label": info.title,
        "help_text": info.description or "",
        "initial": info.default,
        "required": not _may_be_empty(info),
    }
    kind = info.annotation
    if get_origin(kind) is Literal:
        return forms.ChoiceField(choices=[(one, one) for one in get_args(kind)], **options)
    if kind is bool:
        return forms.BooleanField(**{**options, "required": False})
    if kind is str:
        return forms.CharField(max_length=_bound(info, MaxLen, "max_length"), **options)
    bounds = {"min_value": _bound(info, Ge, "ge"), "max_value": _bound(info, Le, "le")}
    if kind is int or int in get_args(kind):
        return forms.IntegerField(**bounds, **options)
    minimum = bounds["min_value"]
    if minimum is None:
        minimum = _bound(info, Gt, "gt")
    return forms.FloatField(
        **{**bounds, "min_value": minimum}, **options, widget=forms.NumberInput({"step": "any"})
    )


def _may_be_empty(info: FieldInfo) -> bool:
    return type(None) in get_args(info.annotation)


def _bound(info: FieldInfo, kind: type, name: str) -> Any:
    return next((getattr(one, name) for one in info.metadata if isinstance(one, kind)), None)

"""Forms generated from the models of `training.programs`."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, Literal, TypedDict, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, MaxLen
from django import forms
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import QuerySet
from django.forms.models import ModelChoiceIterator, ModelChoiceIteratorValue
from pydantic import BaseModel, JsonValue, create_model
from pydantic.fields import FieldInfo

from training.accounts.permissions import teams_of, visible_to
from training.datasets import service as datasets
from training.jobs import lifecycle, origins
from training.jobs.policy import QueuePolicy
from training.jobs.projects import project_for_job
from training.models import Dataset, Job, Project
from training.programs.datasets import ImportPreview
from training.programs.manifest import Program
from training.programs.registry import get_program
from training.validation import TOO_DEEP, InvalidInputError, extract, validate
from training.web.form_errors import ValidatedForm
from training.web.number_fields import NumberField, WholeNumberField

MAX_DATASETS = 200  # in a chooser
CHECK = "check"  # the button that previews an import
# The initial values of a form by field: values of a configuration, and keys of related rows.
InitialValues = dict[str, JsonValue | uuid.UUID]


class FieldOptions(TypedDict):
    label: str | None
    help_text: str
    initial: JsonValue
    required: bool


def add_validation_errors(
    form: forms.Form, error: InvalidInputError, field_of: Callable[[str], str] = str
) -> None:
    """Show each error at its form field, or above the form if it has none.

    `field_of` translates the name of an invalid value to that of a form field.
    """
    for name, sentences in error.errors.items():
        field = field_of(name)
        form.add_error(field if field in form.fields else None, sentences)


class ConfigForm(ValidatedForm):
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

    def clean(self) -> None:
        super().clean()
        if self.errors:
            return
        cleaned = self.cleaned_data
        data = {name: cleaned[name] for name in self.model.model_fields if name in cleaned}
        for name in self.optional:
            if data[name] in ("", None):
                del data[name]
        try:
            self.config = validate(self.model, data)
        except InvalidInputError as error:
            add_validation_errors(self, error)

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


def job_fields(program: Program) -> type[BaseModel]:
    bases = (program.parameters, QueuePolicy)
    return cast("type[BaseModel]", create_model("JobFields", __base__=bases))


class _NewestDatasets(ModelChoiceIterator):  # type: ignore[type-arg]
    """The newest datasets, and the chosen one; those of one name with their size and date."""

    chosen: Sequence[str] = ()

    def __iter__(self) -> Iterator[tuple[ModelChoiceIteratorValue, str]]:
        rows = [*self._newest]
        known = {str(row.pk) for row in rows}
        rows = [*self._rows.filter(pk__in=_uuids({*self.chosen} - known)), *rows]
        names = Counter(row.name for row in rows)
        for row in rows:
            title = row.name
            if names[title] > 1:
                created = f"{row.created_at:%Y-%m-%d %H:%M:%S} UTC"
                title = f"{title} ({row.samples:,} samples, {created})"
            yield ModelChoiceIteratorValue(row.pk, row), title

    @property
    def _rows(self) -> QuerySet[Dataset]:
        rows: QuerySet[Dataset] = self.queryset.only("name", "samples", "created_at")
        return rows

    @cached_property
    def _newest(self) -> list[Dataset]:
        return list(self._rows[:MAX_DATASETS])


class _DatasetSelect(forms.Select):
    def optgroups(self, name: str, value: list[str], attrs: Any = None) -> list[Any]:
        if isinstance(self.choices, _NewestDatasets):
            self.choices.chosen = value
        return super().optgroups(name, value, attrs)


class DatasetField(forms.ModelChoiceField):  # type: ignore[type-arg]
    """Lists the newest datasets, but accepts any of them."""

    iterator = _NewestDatasets
    widget = _DatasetSelect

    def offer(self, rows: QuerySet[Dataset]) -> None:
        self.queryset = rows
        if rows[MAX_DATASETS:].exists():
            self.help_text = (
                f"The newest {MAX_DATASETS} are listed. For another one, use “Train” in the list "
                "of datasets."
            )


def _uuids(texts: Collection[str]) -> list[uuid.UUID]:
    found = []
    for text in texts:
        with suppress(ValueError, AttributeError):
            found.append(uuid.UUID(str(text)))
    return found


class JobForm(ConfigForm):
    dataset = DatasetField(Dataset.objects.none(), empty_label=None)
    name = forms.CharField(max_length=200, required=False, help_text="Optional.")
    notes = forms.CharField(
        max_length=20_000,
        required=False,
        initial="",
        widget=forms.Textarea({"rows": 2}),
        help_text="Optional. For example, what you want to find out.",
    )

    project = forms.CharField(
        max_length=200,
        required=False,
        initial="",
        widget=forms.TextInput({"list": "projects"}),
        help_text="Optional. A new name creates a project.",
    )

    init_from = forms.UUIDField(
        required=False,
        initial="",
        label="Start from",
        help_text="Optional. The ID of a job or model whose weights the training starts from.",
    )

    def __init__(self, user: User, program: Program, *args: Any, **kwargs: Any) -> None:
        self.model, self.main = job_fields(program), program.main_parameters
        super().__init__(*args, **kwargs)
        self.user, self.program = user, program
        if not user.is_staff:
            self.fields["priority"] = priority_field(user)
        if program.datasets:
            ready = visible_to(Dataset.objects.filter(status=Dataset.State.READY), user)
            cast("DatasetField", self.fields["dataset"]).offer(ready)
        else:
            del self.fields["dataset"]
        self.share_with(user)

    def clean(self) -> None:
        super().clean()
        self.origin: Job | None = None
        if self.errors or self.cleaned_data["init_from"] is None:
            return
        try:
            origin = origins.find_origin(self.user, self.program, self.cleaned_data["init_from"])
            parameters = extract(self.program.parameters, self.config)
            origins.with_network_of(
                origin, self.program, parameters, self.program.network_parameters
            )
        except InvalidInputError as error:
            add_validation_errors(self, error)
        else:
            self.origin = origin

    @property
    def project_names(self) -> list[str]:
        rows = visible_to(Project.objects.all(), self.user)
        return list(rows.values_list("name", flat=True)[:200])

    def submit(self, parent: Job | None = None) -> Job:
        """Queue the job; a clone inherits the tags of its parent."""
        with transaction.atomic():  # a rejected request creates no project
            return lifecycle.submit(
                self.user,
                self.cleaned_data.get("dataset"),
                extract(self.program.parameters, self.config),
                self.cleaned_data["name"],
                policy=extract(QueuePolicy, self.config),
                program=self.program.name,
                project=project_for_job(self.user, self.cleaned_data["project"]),
                notes=self.cleaned_data["notes"],
                tags=parent.tags if parent else (),
                parent=parent,
                team=self.team,
                init_from=self.origin.checkpoint_path if self.origin else "",
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


class JSONTextField(forms.JSONField):
    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else super().prepare_value(value)

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except RecursionError:
            raise forms.ValidationError(TOO_DEEP) from None


class ImportForm(ConfigForm):
    """Imports an upload, or previews it where the button `check` was pressed."""

    model: type[BaseModel] = get_program().dataset_format.import_options
    excluded = ("mapping",)
    optional = tuple(model.model_fields)

    name = forms.CharField(max_length=200, help_text="Shown in lists.")
    file = forms.FileField(
        label="File",
        help_text="At most 1,000 receivers and 2,000,000 samples.",
    )
    mapping = JSONTextField(
        required=False,
        label="Columns of a single table",
        help_text="JSON. Check fills it in from the file.",
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false"}),
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"auto_id": "import_%s", **kwargs})
        self.user = user
        self.fields["name"].required = CHECK not in self.data
        self.share_with(user)

    def preview(self) -> ImportPreview:
        """What the import would give; shows the guessed mapping in the form."""
        preview = datasets.preview_upload(self.user, self.cleaned_data["file"], self.config)
        if preview.mapping:
            self.data = {
                **dict(self.data.items()),
                "mapping": json.dumps(preview.mapping, indent=1),
            }
        return preview

    def store(self) -> Dataset:
        """Import the uploaded file; raises what `datasets.import_upload` raises."""
        name, file = self.cleaned_data["name"], self.cleaned_data["file"]
        dataset = datasets.import_upload(self.user, name, file, self.config)
        if self.team:
            datasets.share_dataset(dataset, self.team)
        return dataset


class UserPriorityField(WholeNumberField):
    """A priority of a user who is not staff: at most 0."""

    def validate(self, value: int | None) -> None:
        super().validate(value)
        if value is not None and value > 0:
            raise forms.ValidationError("Only staff can use a priority above 0; use 0 or less.")


def priority_field(user: User) -> forms.IntegerField:
    field = cast("forms.IntegerField", model_field(QueuePolicy.model_fields["priority"]))
    if user.is_staff:
        return field
    return UserPriorityField(
        min_value=field.min_value,
        max_value=0,
        label=field.label,
        help_text=field.help_text,
        initial=0,
    )


def model_field(info: FieldInfo) -> forms.Field:
    kind = info.annotation
    options: FieldOptions = {
        "label": info.title,
        "help_text": info.description or "",
        "initial": info.default,
        # A required checkbox would have to be checked.
        "required": kind is not bool and not _may_be_empty(info),
    }
    if get_origin(kind) is Literal:
        return forms.ChoiceField(choices=[(value, value) for value in get_args(kind)], **options)
    if kind is bool:
        return forms.BooleanField(**options)
    if kind is str:
        options["required"] = info.is_required()  # an empty string is a valid value
        return forms.CharField(max_length=_bound(info, MaxLen, "max_length"), **options)
    bounds = {"min_value": _bound(info, Ge, "ge"), "max_value": _bound(info, Le, "le")}
    if kind is int or int in get_args(kind):
        return WholeNumberField(**bounds, **options)
    minimum = bounds["min_value"]
    if minimum is None:
        minimum = _bound(info, Gt, "gt")
    return NumberField(**{**bounds, "min_value": minimum}, **options)


def _may_be_empty(info: FieldInfo) -> bool:
    return type(None) in get_args(info.annotation)


def _bound(info: FieldInfo, kind: type, name: str) -> Any:
    return next(
        (getattr(constraint, name) for constraint in info.metadata if isinstance(constraint, kind)),
        None,
    )

"""Forms generated from the models of `training.localization.config`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, MaxLen
from django import forms
from django.contrib.auth.models import Group, User
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from training.accounts.permissions import teams_of, visible_to
from training.datasets import service as datasets
from training.jobs import lifecycle
from training.localization.config import GenerateConfig, ImportConfig, TrainConfig
from training.models import Dataset, Job
from training.validation import InvalidInputError, validate


class ConfigForm(forms.Form):
    """A form whose values are checked by `model`, as the API checks them."""

    model: type[BaseModel]
    left_out: Sequence[str] = ()
    first: Sequence[str] = ()
    # Where nothing is said of these, the default holds.
    may_be_left: Sequence[str] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, info in self.model.model_fields.items():
            if name not in self.left_out:
                self.fields[name] = model_field(info)
            if name in self.may_be_left:
                self.fields[name].required = False

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        sent = {name: cleaned[name] for name in self.model.model_fields if name in cleaned}
        for name in self.may_be_left:
            if sent[name] in ("", None):
                del sent[name]
        try:
            self.config = validate(self.model, sent)
        except InvalidInputError as error:
            for name, sentences in error.errors.items():
                self.add_error(name if name in self.fields else None, sentences)
        return cleaned

    def share_with(self, user: User) -> None:
        """Ask for a team, where the user belongs to one."""
        mine = teams_of(user)
        if mine.exists():
            self.fields["team"] = forms.ModelChoiceField(
                mine,
                required=False,
                label="Share with",
                empty_label="Nobody",
                help_text="A team whose members see and steer it too.",
            )
            self.order_fields(["dataset", "name", "file", "team"])

    @property
    def team(self) -> Group | None:
        """The one that a valid form says."""
        return cast("Group | None", self.cleaned_data.get("team"))

    def main_fields(self) -> list[forms.BoundField]:
        """What everyone looks at."""
        return [self[name] for name in self.fields if self._is_main(name)]

    def further_fields(self) -> list[forms.BoundField]:
        """What has a good default."""
        return [self[name] for name in self.fields if not self._is_main(name)]

    def _is_main(self, name: str) -> bool:
        return name in self.first or name not in self.model.model_fields


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {
        "title": "Quick look",
        "about": "A minute: does it learn at all?",
        "values": {"epochs": 20, "hidden": 64, "layers": 1, "patience": 10},
    },
    "standard": {
        "title": "Standard",
        "about": "The defaults; good on ten thousand samples.",
        "values": {},
    },
    "thorough": {
        "title": "Thorough",
        "about": "Wider, slower, patient: for the last metres.",
        "values": {
            "epochs": 300, "hidden": 256, "layers": 3, "learning_rate": 5e-4, "patience": 40,
        },
    },
    "powder": {
        "title": "POWDER, 462 MHz",
        "about": "A campus, 33 receivers, buses among them: five networks that agree on a place.",
        "values": {"model": "mlp", "members": 5, "epochs": 80, "batch_size": 64},
    },
}  # fmt: skip


class JobForm(ConfigForm):
    """Start a training."""

    model = TrainConfig
    first = ("epochs", "batch_size", "learning_rate", "patience")

    dataset = forms.ModelChoiceField(Dataset.objects.none(), empty_label=None)
    name = forms.CharField(
        max_length=200, required=False, help_text="Shown in lists; may stay empty."
    )
    notes = forms.CharField(
        max_length=20_000,
        required=False,
        initial="",
        widget=forms.Textarea({"rows": 2}),
        help_text="What you want to find out; may stay empty.",
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        ready = visible_to(Dataset.objects.filter(status=Dataset.State.READY), user)
        self.fields["dataset"].queryset = ready  # type: ignore[attr-defined]
        self.share_with(user)

    def submit(self, parent: Job | None = None) -> Job:
        """Queue what a valid form says, under the tags of the job that it was cloned from."""
        return lifecycle.submit(
            self.user,
            self.cleaned_data["dataset"],
            cast(TrainConfig, self.config),
            self.cleaned_data["name"],
            notes=self.cleaned_data["notes"],
            tags=parent.tags if parent else (),
            parent=parent,
            team=self.team,
        )


class GenerateForm(ConfigForm):
    """Make a synthetic dataset on the seven receivers of the default."""

    model = GenerateConfig
    left_out = ("receivers",)
    first = ("samples", "seed")

    name = forms.CharField(max_length=200, help_text="Shown in lists.")

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        # Two forms share a page: a label has to find its own field.
        super().__init__(*args, **{"auto_id": "generate_%s", **kwargs})
        self.user = user
        self.share_with(user)

    def submit(self) -> Job:
        """Queue what a valid form says."""
        config, name = cast(GenerateConfig, self.config), self.cleaned_data["name"]
        return lifecycle.submit_generation(self.user, name, config, self.team)


class ImportForm(ConfigForm):
    """Import measured data, and say how it is to be split."""

    model = ImportConfig
    may_be_left = tuple(ImportConfig.model_fields)

    name = forms.CharField(max_length=200, help_text="Shown in lists.")
    file = forms.FileField(
        label="Zip file", help_text="A zip of receivers.csv, samples.csv and measurements.csv."
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"auto_id": "import_%s", **kwargs})
        self.user = user
        self.share_with(user)

    def store(self) -> Dataset:
        """Import the upload of a valid form (see `training.datasets.service.import_upload`)."""
        name, file = self.cleaned_data["name"], self.cleaned_data["file"]
        made = datasets.import_upload(self.user, name, file, cast(ImportConfig, self.config))
        if self.team:
            datasets.share_dataset(made, self.team)
        return made


def model_field(info: FieldInfo) -> forms.Field:
    words = {
        "label": info.title,
        "help_text": info.description or "",
        "initial": info.default,
        "required": not _may_be_empty(info),
    }
    kind = info.annotation
    if get_origin(kind) is Literal:
        return forms.ChoiceField(choices=[(one, one) for one in get_args(kind)], **words)
    if kind is bool:
        return forms.BooleanField(**{**words, "required": False})
    if kind is str:
        return forms.CharField(max_length=_bound(info, MaxLen, "max_length"), **words)
    bounds = {"min_value": _bound(info, Ge, "ge"), "max_value": _bound(info, Le, "le")}
    if kind is int or int in get_args(kind):
        return forms.IntegerField(**bounds, **words)
    least = bounds["min_value"]
    if least is None:
        least = _bound(info, Gt, "gt")
    return forms.FloatField(
        **{**bounds, "min_value": least}, **words, widget=forms.NumberInput({"step": "any"})
    )


def _may_be_empty(info: FieldInfo) -> bool:
    return type(None) in get_args(info.annotation)


def _bound(info: FieldInfo, kind: type, name: str) -> Any:
    return next((getattr(one, name) for one in info.metadata if isinstance(one, kind)), None)

"""Forms that are generated from pydantic models."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from django import forms
from django.contrib.auth.models import Group, User
from pydantic import BaseModel, Field

from training.models import Dataset
from training.programs.registry import get_program
from training.validation import InvalidInputError
from training.web.forms import ConfigForm, GenerateForm, JobForm, add_validation_errors, model_field
from training.web.number_fields import NumberField, WholeNumberField


class Model(BaseModel):
    count: int = Field(3, ge=1, le=9, title="Count", description="How many.")
    rate: float = Field(0.5, gt=0, le=1)
    kind: Literal["a", "b"] = "a"
    active: bool = True
    label: str = Field("", max_length=5)
    limit: int | None = Field(None, ge=1)
    share: float | None = None


FIELDS = {name: model_field(info) for name, info in Model.model_fields.items()}


class Form(ConfigForm):
    model = Model
    optional = ("label",)
    main = ("count",)


def filled(**values: Any) -> Form:
    return Form({"count": 3, "rate": 0.5, "kind": "a", "active": "on", **values})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("count", WholeNumberField),
        ("rate", NumberField),
        ("kind", forms.ChoiceField),
        ("active", forms.BooleanField),
        ("label", forms.CharField),
        ("limit", WholeNumberField),
        ("share", NumberField),
    ],
)
def test_each_type_has_its_form_field(name: str, kind: type[forms.Field]) -> None:
    assert type(FIELDS[name]) is kind


def test_field_has_label_help_initial_value_and_bounds() -> None:
    field = FIELDS["count"]
    assert isinstance(field, forms.IntegerField)
    assert (field.label, field.help_text, field.initial) == ("Count", "How many.", 3)
    assert (field.min_value, field.max_value) == (1, 9)
    rate = FIELDS["rate"]
    assert isinstance(rate, forms.FloatField)
    assert (rate.min_value, rate.max_value) == (0, 1)


def test_only_fields_that_accept_no_text_may_be_blank() -> None:
    blank = {name for name, field in FIELDS.items() if not field.required}
    assert blank == {"active", "label", "limit", "share"}


def test_valid_form_has_the_validated_model() -> None:
    form = filled(count="7", limit="", share="0.25", label="")
    assert form.is_valid(), form.errors
    assert form.config == Model(count=7, share=0.25)


@pytest.mark.parametrize(("typed", "rate"), [("0,25", 0.25), (" ,5 ", 0.5), ("1e-2", 0.01)])
def test_decimal_comma_is_read_as_such(typed: str, rate: float) -> None:
    form = filled(rate=typed)
    assert form.is_valid(), form.errors
    assert form.config == Model(rate=rate)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"rate": "1,000"}, "'1,000' can mean 1.000 or 1000; write one of these."),
        ({"count": "1,5"}, "'1,5' is not a whole number."),
        ({"rate": "1_0"}, "'1_0' is not a number; write it with the digits 0 to 9."),
        ({"count": "1_0"}, "'1_0' is not a number; write it with the digits 0 to 9."),
        ({"count": "1,000"}, "'1,000' is not a whole number."),
    ],
)
def test_ambiguous_number_is_rejected_and_kept_in_the_form(
    values: dict[str, str], sentence: str
) -> None:
    form = filled(**values)
    (name, typed), *_ = values.items()
    assert form.errors[name] == [sentence]
    assert f'value="{typed}"' in str(form[name])


def test_numbers_are_text_inputs_because_number_inputs_drop_commas() -> None:
    html = str(filled()["rate"]), str(filled()["count"])
    assert 'type="text"' in html[0] and 'inputmode="decimal"' in html[0]
    assert 'type="text"' in html[1] and 'inputmode="numeric"' in html[1]


def test_datasets_of_one_name_differ_in_the_form(ada: User, dataset: Dataset) -> None:
    field: Any = JobForm(ada, get_program()).fields["dataset"]
    assert [label for _, label in field.choices] == ["Small"]
    Dataset.objects.create(owner=ada, name="Small", kind="measured", status="ready", samples=7)
    field = JobForm(ada, get_program()).fields["dataset"]
    labels = [label for _, label in field.choices]
    assert len(set(labels)) == 2
    assert any("7 samples" in label for label in labels)


def test_unchecked_box_is_false() -> None:
    form = Form({"count": 3, "rate": 0.5, "kind": "a"})
    assert form.is_valid()
    assert form.config == Model(active=False)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"count": "x"}, "count"),
        ({"count": "10"}, "count"),
        ({"rate": "0"}, "rate"),
        ({"rate": "nan"}, "rate"),
        ({"kind": "c"}, "kind"),
        ({"label": "longer"}, "label"),
        ({"limit": "0"}, "limit"),
    ],
)
def test_invalid_value_is_reported_at_its_field(values: dict[str, Any], field: str) -> None:
    form = filled(**values)
    assert not form.is_valid()
    assert list(form.errors) == [field]


def test_error_without_a_form_field_is_shown_above_the_form() -> None:
    form = filled()
    form.is_valid()
    add_validation_errors(form, InvalidInputError({"other": ["Wrong."], "count": ["Too few."]}))
    assert form.errors == {"__all__": ["Wrong."], "count": ["Too few."]}


def test_main_fields_are_separate_from_advanced_fields() -> None:
    form = Form()
    assert [field.name for field in form.main_fields()] == ["count"]
    assert "rate" in [field.name for field in form.further_fields()]


def test_job_form_offers_only_ready_datasets_of_the_user(
    ada: User, bob: User, dataset: Dataset
) -> None:
    Dataset.objects.create(owner=ada, name="Growing", kind="synthetic", status="generating")

    def offered(user: User) -> list[str]:
        field: Any = JobForm(user, get_program()).fields["dataset"]
        return [choice.name for choice in field.queryset]

    assert offered(ada) == [dataset.name]
    assert offered(bob) == []


def test_team_field_appears_for_team_members_only(ada: User, bob: User) -> None:
    Group.objects.create(name="Lab").user_set.add(ada)
    assert "team" in JobForm(ada, get_program()).fields
    assert "team" not in JobForm(bob, get_program()).fields
    assert list(GenerateForm(ada).fields)[:2] == ["name", "team"]


def test_team_of_another_user_cannot_be_chosen(ada: User, dataset: Dataset) -> None:
    Group.objects.create(name="Lab").user_set.add(ada)
    theirs = Group.objects.create(name="Theirs")
    values = {name: field.initial for name, field in JobForm(ada, get_program()).fields.items()}
    sent = {name: value for name, value in values.items() if value is not None}
    form = JobForm(ada, get_program(), {**sent, "dataset": dataset.pk, "team": theirs.pk})
    assert not form.is_valid()
    assert list(form.errors) == ["team"]

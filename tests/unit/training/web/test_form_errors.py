from __future__ import annotations

import pytest
from django import forms

from training.web.form_errors import ValidatedForm


class Example(ValidatedForm):
    name = forms.CharField(min_length=2, max_length=4)
    count = forms.IntegerField(min_value=1, max_value=9)
    rate = forms.FloatField(min_value=0.5)


VALID = {"name": "abc", "count": "3", "rate": "1.5"}


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "abcde", "Too long (5 characters); at most 4 allowed."),
        ("name", "a", "Too short (1 characters); at least 2 required."),
        ("count", "0", "0 is too small; it must be at least 1."),
        ("count", "10", "10 is too large; it must be at most 9."),
        ("count", "many", "'many' is not a whole number."),
        ("rate", "0.25", "0.25 is too small; it must be at least 0.5."),
        ("rate", "fast", "'fast' is not a number."),
        ("name", "", "This field is required."),
    ],
)
def test_message_names_value_and_bound(field: str, value: str, message: str) -> None:
    assert Example({**VALID, field: value}).errors == {field: [message]}

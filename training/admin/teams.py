"""The admin of teams, which are Django's groups: their names follow the rule for names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin
from django.contrib.auth.models import Group
from django.http import HttpRequest

from heimdall_sdk.text import TextError, normalize_name
from training.admin.audited import AuditedAdmin
from training.validation import sentence

admin.site.unregister(Group)


if TYPE_CHECKING:  # generic only for the type checker
    GroupForm = forms.ModelForm[Group]
else:
    GroupForm = forms.ModelForm


class TeamForm(GroupForm):
    def clean_name(self) -> str:
        try:
            return normalize_name(self.cleaned_data["name"])
        except TextError as error:
            raise forms.ValidationError(sentence(error)) from None


@admin.register(Group)
class TeamAdmin(AuditedAdmin, GroupAdmin):
    form = TeamForm

    def get_exclude(self, request: HttpRequest, obj: Group | None = None) -> tuple[str, ...]:
        # A member could grant any permission to a team, and so to themselves.
        return () if request.user.is_superuser else ("permissions",)

"""The admin of users: audited, with a choice of what happens to a deleted user's jobs."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from heimdall_sdk.text import count_of
from training.accounts import sessions, tokens
from training.accounts.permissions import signed_in_user
from training.admin.audited import AuditedAdmin
from training.user_deletion import UserDeletionError, delete_user, describe_owned

admin.site.unregister(User)


class DeletionForm(forms.Form):
    """What happens to what the user owns."""

    HAND_OVER, DELETE = "hand over", "delete"

    what = forms.ChoiceField(
        choices=[
            (HAND_OVER, "Hand them to another user; running jobs continue"),
            (DELETE, "Delete them, with their files; running jobs are cancelled"),
        ],
        widget=forms.RadioSelect,
        label="Jobs, sweeps, datasets, projects and registered models",
    )
    # A list of all users would grow with the installation.
    to = forms.ModelChoiceField(
        User.objects.filter(is_active=True),
        to_field_name="username",
        required=False,
        widget=forms.TextInput,
        label="Username of the new owner",
        error_messages={"invalid_choice": "No active user has this name."},
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if cleaned.get("what") == self.HAND_OVER and not cleaned.get("to"):
            self.add_error("to", "Choose the user who gets them.")
        return cleaned

    def receiver(self) -> User | None:
        is_handed_over = self.cleaned_data["what"] == self.HAND_OVER
        return self.cleaned_data["to"] if is_handed_over else None


@admin.register(User)
class HeimdallUserAdmin(AuditedAdmin, UserAdmin):  # type: ignore[type-arg]
    actions = ("end_access",)

    def get_actions(self, request: HttpRequest) -> Any:
        # Deleting asks for each user what happens to their jobs.
        found = super().get_actions(request)
        found.pop("delete_selected", None)
        return found

    @admin.action(description="Revoke all tokens and end all sessions of selected users")
    def end_access(self, request: HttpRequest, rows: QuerySet[User]) -> None:
        if not self.has_change_permission(request):
            raise PermissionDenied
        for user in rows:
            sessions.end_sessions(user)
            revoked = tokens.revoke_tokens(user)
            messages.success(
                request, f"{user.username} is signed out; {count_of(revoked, 'token')} revoked."
            )

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        user = self.get_object(request, object_id)
        if user is None:
            raise Http404("This user does not exist.")
        if not self.has_delete_permission(request, user) or not request.user.is_superuser:
            raise PermissionDenied
        form = DeletionForm(request.POST or None)
        if form.is_valid():
            if user == request.user:
                form.add_error(None, "You cannot delete yourself; ask another superuser.")
            else:
                try:
                    delete_user(user, form.receiver(), signed_in_user(request).username)
                except UserDeletionError as error:
                    form.add_error(None, str(error))
                else:
                    messages.success(request, f"Deleted {user.username}.")
                    return HttpResponseRedirect(reverse("admin:auth_user_changelist"), status=303)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Delete {user.username}",
            "form": form,
            "subject": user,
            "owned": describe_owned(user),
            "opts": self.opts,
        }
        status = 400 if form.is_bound else 200
        return TemplateResponse(request, "admin/auth/user/delete_user.html", context, status=status)

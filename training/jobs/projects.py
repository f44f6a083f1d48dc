"""Projects: named groups of jobs."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.models import Group, User
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from training.accounts import audit, limits
from training.accounts.permissions import usable_team, visible_to
from training.models import Job, Project
from training.validation import InvalidInputError

DEFAULT_NAME = "Default"


class ProjectNameTakenError(ValueError):
    """The user has a project of this name, as every user has the default project."""

    def __init__(self, name: str) -> None:
        super().__init__(f"You already have a project named {name!r}; choose another name.")


def create_project(
    owner: User, name: str, description: str = "", team: Group | None = None
) -> Project:
    """Raises ProjectNameTakenError, and LimitReachedError."""
    _refuse_default(name)
    try:
        with transaction.atomic():
            limits.require(owner, limits.PROJECTS)
            project = Project.objects.create(
                owner=owner, name=name, description=description, team=team
            )
            if team:
                audit.record("share", project, team=str(team))
            return project
    except IntegrityError as error:
        raise ProjectNameTakenError(name) from error


def update_project(project: Project, **changes: str | Group | None) -> Project:
    if changes.get("name", project.name) != project.name:
        _refuse_default(changes["name"])
    team = project.team
    for name, value in changes.items():
        setattr(project, name, value)
    try:
        with transaction.atomic():
            project.save(update_fields=list(changes))
            if project.team != team:
                audit.record("share", project, team=str(project.team or ""))
    except IntegrityError as error:
        raise ProjectNameTakenError(str(changes["name"])) from error
    return project


def _refuse_default(name: object) -> None:
    """`Default` names the jobs without a project; a project of that name could not be chosen."""
    if name == DEFAULT_NAME:
        raise ProjectNameTakenError(DEFAULT_NAME)


def delete_project(project: Project) -> None:
    """Its jobs stay, without a project."""
    with transaction.atomic():
        audit.record("delete", project)
        project.delete()


def project_for_job(user: User, reference: str | None) -> Project | None:
    """The project with this ID or name. A name that the user has no project for creates one.

    None stands for the user's default project. Raises InvalidInputError, and LimitReachedError.
    """
    if not reference or reference == DEFAULT_NAME:
        return None
    visible = visible_to(Project.objects.select_related("team"), user)
    if (pk := _as_uuid(reference)) is not None:
        found = visible.filter(pk=pk).first()
        if found is None:
            raise InvalidInputError(
                {"project": [f"Project {reference} does not exist, or you cannot use it."]}
            )
        return found
    own_first = sorted(
        visible.filter(name=reference), key=lambda project: project.owner_id != user.pk
    )
    if own_first:
        return own_first[0]
    with transaction.atomic():
        limits.require(user, limits.PROJECTS)
        project, _ = Project.objects.get_or_create(owner=user, name=reference)
    return project


def team_of_new_row(user: User, project: Project | None) -> Group | None:
    """The team of the project, if this user may share with it: its owner may have left it."""
    return usable_team(user, project.team_id) if project else None


def usable_project(user: User, pk: UUID | None) -> Project | None:
    """The project of a row that is copied, if this user sees it; else the default one."""
    return None if pk is None else visible_to(Project.objects.filter(pk=pk), user).first()


def jobs_in_project(jobs: QuerySet[Job], reference: str) -> QuerySet[Job]:
    """The jobs of projects with this ID or name; Default also stands for jobs without one."""
    if reference == DEFAULT_NAME:
        return jobs.filter(Q(project=None) | Q(project__name=reference))
    if pk := _as_uuid(reference):
        return jobs.filter(project_id=pk)
    return jobs.filter(project__name=reference)


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None

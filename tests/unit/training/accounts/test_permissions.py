"""Permissions to see, control, share and delete objects."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.exceptions import PermissionDenied

from tests.jobs import claim_job
from training.accounts.permissions import (
    NoSuchTeamError,
    get_team,
    is_owner,
    require_owner,
    teams_of,
    visible_to,
)
from training.jobs import results
from training.models import Dataset, Job, TrainedModel
from training.models.webhooks import Webhook


@pytest.fixture
def lab(ada: User, bob: User) -> Group:
    team = Group.objects.create(name="Lab")
    team.user_set.add(ada, bob)
    return team


def test_other_users_see_nothing_and_staff_see_everything(
    job: Job, ada: User, bob: User, staff: User
) -> None:
    jobs = Job.objects.all()
    assert list(visible_to(jobs, ada)) == [job]
    assert not visible_to(jobs, bob).exists()
    assert not visible_to(jobs, AnonymousUser()).exists()
    assert list(visible_to(jobs, staff)) == [job]


def test_deactivated_staff_user_has_no_access(job: Job, staff: User) -> None:
    staff.is_active = False
    assert not visible_to(Job.objects.all(), staff).exists()


def test_team_members_see_shared_jobs_datasets_and_models(job: Job, bob: User, lab: Group) -> None:
    results.complete_training(claim_job(job), "/c/best", {})
    Job.objects.update(team=lab)
    assert list(visible_to(Job.objects.all(), bob)) == [job]
    models = visible_to(TrainedModel.objects.all(), bob, owner="job__owner")
    assert [model.job_id for model in models] == [job.pk]
    assert not visible_to(Dataset.objects.all(), bob).exists()
    Dataset.objects.update(team=lab)
    assert visible_to(Dataset.objects.all(), bob).exists()


def test_webhooks_of_team_members_stay_private(ada: User, bob: User, lab: Group) -> None:
    webhook = Webhook.objects.create(owner=ada, url="https://example.org", events=["job.failed"])
    assert not visible_to(Webhook.objects.all(), bob).exists()
    assert list(visible_to(Webhook.objects.all(), ada)) == [webhook]


def test_only_owner_and_staff_have_owner_rights_on_a_shared_row(
    job: Job, ada: User, bob: User, staff: User, lab: Group
) -> None:
    assert is_owner(job, ada) and is_owner(job, staff) and not is_owner(job, bob)
    require_owner(job, staff)
    with pytest.raises(PermissionDenied, match=r"Only the owner \(ada\) can do this\."):
        require_owner(job, bob)


def test_users_share_with_their_own_teams_and_staff_with_any_team(
    ada: User, staff: User, lab: Group
) -> None:
    other = Group.objects.create(name="Another")
    assert list(teams_of(ada)) == [lab]
    assert list(teams_of(staff)) == [other, lab]
    assert get_team(ada, "Lab") == lab
    assert get_team(staff, "Another") == other
    assert get_team(ada, None) is None and get_team(ada, "") is None
    with pytest.raises(NoSuchTeamError, match="You do not belong to a team named 'Another'"):
        get_team(ada, "Another")

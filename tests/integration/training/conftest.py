"""A real server, and a webhook of Ada's with its URL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from tests.integration.training.webhooks.receiver import Receiver, receiver
from training.models.webhooks import Webhook
from training.webhooks import service


@pytest.fixture
def there(settings: Any) -> Iterator[Receiver]:
    settings.WEBHOOK_ALLOW_PRIVATE = True
    with receiver() as found:
        yield found


@pytest.fixture
def webhook(ada: User, there: Receiver) -> Webhook:
    wanted = service.CreateWebhook(url=f"{there.url}/hook?a=1", events=["job.completed",
                                     "job.cancelled", "job.started"])  # fmt: skip
    return service.create_webhook(ada, wanted)

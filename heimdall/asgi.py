"""The web process: pages and API through Django, sockets through realtime."""

from __future__ import annotations

import os
import sys

import django
from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "heimdall.settings")
django.setup()

from heimdall import static_files  # noqa: E402

static_files.collect()  # before the middleware looks at what there is
pages = get_asgi_application()

# These need Django to be set up, which the line above did.
from heimdall.checks import refuse_to_start  # noqa: E402
from realtime.routing import websocket_application  # noqa: E402
from training.accounts.tokens import authenticate  # noqa: E402
from training.events.hub import get_hub  # noqa: E402

refuse_to_start()
if "daphne.server" in sys.modules:
    # Another server needs no teaching, and importing daphne would take its event loop.
    from heimdall.daphne.server import patch_daphne

    patch_daphne()
application = ProtocolTypeRouter(
    {
        "http": pages,
        "websocket": websocket_application(get_hub=get_hub, user_for_token=authenticate),
    }
)

"""The ASGI application: HTTP through Django, WebSockets through realtime."""

from __future__ import annotations

import gc
import os
import sys

import django
from channels.routing import ProtocolTypeRouter
from django.conf import settings
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "heimdall.settings")
django.setup()

from heimdall import static_files  # noqa: E402

static_files.collect()  # before WhiteNoise reads the directory
http_application = get_asgi_application()

# These imports need the apps, which django.setup() has loaded.
from heimdall.base_path import BasePathApplication  # noqa: E402
from heimdall.checks import refuse_to_start  # noqa: E402
from heimdall.concurrency_limit import ConcurrencyLimit  # noqa: E402
from realtime.routing import websocket_application  # noqa: E402
from training.accounts import sessions, tokens  # noqa: E402
from training.accounts.limits import max_streams  # noqa: E402
from training.events.hub import get_hub  # noqa: E402

refuse_to_start()
if "daphne.server" in sys.modules:
    # Under another server nothing is patched; importing daphne would replace its event loop.
    from heimdall.daphne.server import patch_daphne

    patch_daphne()
# A batch of points has 20,000 objects. With its default thresholds, the garbage
# collector scans all loaded objects several times per batch, which takes 20 of 70 ms.
gc.freeze()
gc.set_threshold(50_000, 20, 20)
application = BasePathApplication(
    ProtocolTypeRouter(
        {
            "http": ConcurrencyLimit(http_application),
            "websocket": websocket_application(
                get_hub=get_hub,
                user_for_token=tokens.authenticate,
                user_for_session=sessions.authenticate,
                max_connections=max_streams,
            ),
        }
    ),
    settings.BASE_PATH,
)

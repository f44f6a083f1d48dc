"""The ASGI application: HTTP through Django, WebSockets through realtime."""

from __future__ import annotations

import os
import sys

import django
from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "heimdall.settings")
django.setup()

from heimdall import static_files  # noqa: E402

static_files.collect()  # before WhiteNoise reads the directory
http_application = get_asgi_application()

# These imports need the apps, which django.setup() has loaded.
from heimdall.checks import refuse_to_start  # noqa: E402
from realtime.routing import websocket_application  # noqa: E402
from training.accounts.tokens import authenticate  # noqa: E402
from training.events.hub import get_hub  # noqa: E402

refuse_to_start()
if "daphne.server" in sys.modules:
    # Under another server nothing is patched; importing daphne would replace its event loop.
    from heimdall.daphne.server import patch_daphne

    patch_daphne()
application = ProtocolTypeRouter(
    {
        "http": http_application,
        "websocket": websocket_application(get_hub=get_hub, user_for_token=authenticate),
    }
)

"""`python -m heimdall_sdk` is the command `heimdall`."""

from __future__ import annotations

import sys

from heimdall_sdk.cli.main import main

sys.exit(main())

"""Jobs and what surrounds them. The SDK in `sdk/`, which defines their messages, is found here."""

import sys
from pathlib import Path

# The SDK is a separate distribution, which a checkout does not need to install.
sys.path.append(str(Path(__file__).resolve().parent.parent / "sdk"))

"""Secrets that are created once and stored in the data directory."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def load_or_create_secret(path: Path, strength: int = 50) -> str:
    """Return the secret in `path`; create it, readable by its owner only, if it does not exist.

    `strength` is the number of random bytes.

    Web and worker may call this at the same time: the first file wins. Where the file cannot be
    written, the secret lives as long as the process (`heimdall.E003` reports that problem).
    """
    secret = secrets.token_urlsafe(strength)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        if not path.exists():
            draft.touch(mode=0o600)
            draft.write_text(secret, encoding="ascii")
            # Linking is atomic: the file appears complete, or another process was first.
            os.link(draft, path)
    except FileExistsError:
        pass
    except OSError:
        return secret
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return path.read_text(encoding="ascii")

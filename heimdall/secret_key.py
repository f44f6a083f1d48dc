"""A secret key for a machine on which nobody set one: made once, kept beside the data."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def load_or_create_secret(path: Path, strength: int = 50) -> str:
    """The key in `path`, made at the first call; readable by its owner alone.

    `strength` counts random bytes.
    Web and worker may ask at once: whoever creates the file first wins. Where nothing can be
    written the key lives as long as the process (`heimdall.E003` says why that is wrong).
    """
    fresh = secrets.token_urlsafe(strength)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        if not path.exists():
            draft.touch(mode=0o600)
            draft.write_text(fresh, encoding="ascii")
            # A link either appears whole or fails because another process was first.
            os.link(draft, path)
    except FileExistsError:
        pass
    except OSError:
        return fresh
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return path.read_text(encoding="ascii")

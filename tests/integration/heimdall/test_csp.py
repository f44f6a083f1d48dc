from __future__ import annotations

from django.test import Client

INLINE_STYLES = "style-src 'self' 'unsafe-inline'"


def policy_of(path: str) -> list[str]:
    response = Client(headers={"host": "127.0.0.1:8001"}).get(path)
    assert response.headers["Permissions-Policy"].startswith("camera=()")
    return response.headers["Content-Security-Policy"].split("; ")


def test_csp_allows_only_own_files_and_websockets_of_the_host() -> None:
    policy = policy_of("/login")
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "connect-src 'self' ws://127.0.0.1:8001 wss://127.0.0.1:8001" in policy
    assert not [directive for directive in policy if "unsafe" in directive]


def test_only_the_api_documentation_may_use_inline_styles() -> None:
    policy = policy_of("/api/v1/docs")
    assert INLINE_STYLES in policy
    assert policy_of("/login") == [
        "style-src 'self'" if directive == INLINE_STYLES else directive for directive in policy
    ]

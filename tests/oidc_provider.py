"""A small OpenID Connect provider as a process: discovery, code flow with PKCE, user info, keys.

It signs in the user of its command line, without asking:
`python oidc_provider.py SUBJECT NAME EMAIL`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT_ID, CLIENT_SECRET = "heimdall", "client secret"
_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
_codes: dict[str, dict[str, str]] = {}
_access_tokens: set[str] = set()
# No argument can contain a null character, so they may have escapes: \\u0000.
_arguments = [json.loads(f'"{argument}"') for argument in sys.argv[1:]]
_user = dict(zip(("sub", "preferred_username", "email"), _arguments, strict=False))


class Provider(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        match url.path:
            case "/.well-known/openid-configuration":
                self._json(_configuration(self._issuer()))
            case "/authorize":
                self._authorize(query)
            case "/userinfo":
                known = self.headers.get("Authorization", "").removeprefix("Bearer ")
                self._json(_user if known in _access_tokens else {}, 200 if known else 401)
            case "/keys":
                public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(_key.public_key()))
                self._json({"keys": [{**public, "kid": "1", "alg": "RS256", "use": "sig"}]})
            case _:
                self._json({"error": "not_found"}, 404)

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(sent).items()}
        asked = _codes.pop(form.get("code", ""), None)
        challenge = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if (
            asked is None
            or form.get("client_id") != CLIENT_ID
            or form.get("client_secret") != CLIENT_SECRET
            or form.get("redirect_uri") != asked["redirect_uri"]
            or base64.urlsafe_b64encode(challenge).rstrip(b"=").decode() != asked["code_challenge"]
        ):
            self._json({"error": "invalid_grant"}, 400)
            return
        token, now = secrets.token_urlsafe(16), int(time.time())
        _access_tokens.add(token)
        claims = {**_user, "iss": self._issuer(), "aud": CLIENT_ID, "iat": now, "exp": now + 300}
        signed = jwt.encode(claims, _key, algorithm="RS256", headers={"kid": "1"})
        self._json({"access_token": token, "token_type": "Bearer", "id_token": signed})

    def _authorize(self, query: dict[str, str]) -> None:
        answer = {"state": query["state"]}
        if query["client_id"] != CLIENT_ID or query["code_challenge_method"] != "S256":
            answer["error"] = "unauthorized_client"
        elif "deny" in self.headers.get("Cookie", ""):
            answer["error"] = "access_denied"
        else:
            answer["code"] = secrets.token_urlsafe(16)
            _codes[answer["code"]] = query
        self.send_response(302)
        self.send_header("Location", f"{query['redirect_uri']}?{urlencode(answer)}")
        self.end_headers()

    def _json(self, body: Any, status: int = 200) -> None:
        sent = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    def _issuer(self) -> str:
        return f"http://{self.headers['Host']}"

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _configuration(issuer: str) -> dict[str, Any]:
    return {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/keys",
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
    }


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    print(server.server_port, flush=True)  # noqa: T201
    server.serve_forever()

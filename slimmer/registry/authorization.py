"""Answers to a registry's challenge: basic, or a bearer token from the place that it names.

docs: distribution's spec/auth/token.md and spec/auth/oauth.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from slimmer.errors import SlimmerError
from slimmer.registry import document
from slimmer.registry.credentials import Credentials

PARAMETER = re.compile(r'(?<![a-zA-Z_])([a-zA-Z_]{1,64})\s*+=\s*+(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
SCHEME = re.compile(r"\s*(bearer|basic)\b\s*(.*)", re.IGNORECASE | re.DOTALL)
CLIENT = "slimmer"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a token is for."""

    repository: str
    actions: str

    def __str__(self) -> str:
        return f"repository:{self.repository}:{self.actions}"


class Authorization:
    """What to send to one registry, learned from its challenges. Tokens are kept for each scope until refused.

    `send` makes a request; `plain` says whether a host may be spoken to without TLS.
    """

    def __init__(
        self,
        credentials: Credentials | None,
        send: Callable[[httpx.Request], httpx.Response],
        plain: Callable[[str], bool],
    ) -> None:
        self._credentials = credentials
        self._send = send
        self._plain = plain
        self._basic = ""
        self._tokens: dict[tuple[Scope, ...], str] = {}
        self._secrets: set[str] = set(credentials.secrets()) if credentials else set()
        if credentials and credentials.registry_token:
            self._basic = f"Bearer {credentials.registry_token}"

    @property
    def anonymous(self) -> bool:
        return self._credentials is None

    def headers(self, scopes: tuple[Scope, ...]) -> dict[str, str]:
        """For a request to the registry itself, never for another host."""
        token = self._tokens.get(scopes)
        value = f"Bearer {token}" if token else self._basic
        return {"Authorization": value} if value else {}

    def challenge(self, texts: list[str], scopes: tuple[Scope, ...], url: httpx.URL) -> bool:
        """Learn from the WWW-Authenticate headers of a 401; whether another try is worth it. Raises SlimmerError."""
        offers = [(match[1].lower(), match[2]) for text in texts if (match := SCHEME.match(text))]
        for kind, rest in sorted(offers, reverse=True):  # bearer is the narrower one
            if kind == "bearer":
                parameters = {
                    name.lower(): re.sub(r"\\(.)", r"\1", quoted) or bare
                    for name, quoted, bare in PARAMETER.findall(rest)
                }
                self._tokens[scopes] = self._token(
                    parameters.get("realm", ""), parameters.get("service", ""), scopes, url
                )
                return True
            if self._credentials is not None and self._credentials.username:
                self._basic = self._credentials.basic()
                return True
        return False

    def scrub(self, text: str) -> str:
        """A text without any secret that is known here, and without the query of a URL, which may be one."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        text = re.sub(r"(https?://)[^\s/@]*@", r"\1", text)
        return re.sub(r"(https?://[^\s?]{0,2000})\?\S*", r"\1", text)

    def _token(self, realm: str, service: str, scopes: tuple[Scope, ...], registry: httpx.URL) -> str:
        try:
            url = httpx.URL(realm)
        except httpx.InvalidURL:
            url = httpx.URL("")
        secure = url.scheme == "https" or (url.scheme == "http" and registry.scheme == "http" and self._plain(url.host))
        if not secure or not url.host:
            raise SlimmerError(f"the registry {registry.host} names no safe place to ask for a token")
        fields = {"scope": [str(scope) for scope in scopes]} | ({"service": [service]} if service else {})
        who = self._credentials
        if who is not None and who.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": who.identity_token,
                "client_id": CLIENT,
                "service": service,
                "scope": " ".join(map(str, scopes)),
            }
            request = httpx.Request("POST", url, data=form)
        else:
            headers = {"Authorization": who.basic()} if who is not None and who.username else {}
            request = httpx.Request("GET", url.copy_merge_params(httpx.QueryParams(fields)), headers=headers)
        try:
            answer = self._send(request)
        except httpx.TransportError as error:
            raise SlimmerError(
                f"cannot ask {url.host} for a token for the registry: {self.scrub(str(error)) or type(error).__name__}"
            ) from None
        if answer.status_code != 200:
            raise SlimmerError(
                f"{url.host} refuses a token for {registry.host}: {answer.status_code} {answer.reason_phrase}",
                "log in with `podman login` or `docker login`"
                if who is None
                else "the stored credentials may be out of date: log in again",
            )
        node = document.load(answer.content, f"the token of {url.host}", secret=True)
        token = node.get("token").text("") or node.get("access_token").text("")
        if not token or not token.isascii() or not token.isprintable():
            raise SlimmerError(f"{url.host} gives an answer without a token")
        self._secrets.add(token)
        return token

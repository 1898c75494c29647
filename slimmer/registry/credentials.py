"""Credentials for registries, from where docker and podman keep theirs. No secret is ever shown.

containers-auth.json(5) and docker's config.json are one format:
`{"auths": {HOST: {"auth": BASE64}}, "credHelpers": {HOST: HELPER}, "credsStore": HELPER}`.
"""

from __future__ import annotations

import base64
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slimmer.errors import SlimmerError
from slimmer.registry import document
from slimmer.registry.document import Node
from slimmer.registry.reference import HUB, Reference

HUB_KEY = "index.docker.io"  # docker login writes https://index.docker.io/v1/
HELPER = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
HELPER_PATIENCE = 30  # seconds; a helper may ask a cloud
TOKEN_USER = "<token>"  # docker-credential-helpers: the secret is an identity token


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks. `identity_token` is an OAuth2 refresh token, `registry_token` a bearer token that is sent as it is."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)

    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def secrets(self) -> tuple[str, ...]:
        """Every text that must not be shown."""
        found = (self.password, self.identity_token, self.registry_token)
        return tuple(text for text in (*found, self.basic().removeprefix("Basic ") if self.username else "") if text)


def find(reference: Reference, environ: Mapping[str, str]) -> Credentials | None:
    """What docker or podman would use for an image; None for an anonymous visit.

    Files are read in podman's order, then docker's; in each the most specific key wins.
    Raises SlimmerError when a file is damaged or a helper fails.
    """
    for place in files(environ):
        try:
            data = place.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise SlimmerError(f"cannot read the credentials in {place}: {error.strerror}") from error
        if not data.strip():
            continue
        found = _in_file(document.load(data, str(place), secret=True), reference, environ)
        if found is not None:
            return found
    return None


def files(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where credentials may be, first come first served; containers-auth.json(5)."""
    if environ.get("REGISTRY_AUTH_FILE"):
        yield Path(environ["REGISTRY_AUTH_FILE"])
        return
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    if environ.get("XDG_RUNTIME_DIR"):
        yield Path(environ["XDG_RUNTIME_DIR"], "containers", "auth.json")
    else:
        yield Path(f"/run/containers/{os.getuid()}/auth.json")
    yield Path(environ.get("XDG_CONFIG_HOME") or home / ".config", "containers", "auth.json")
    yield Path(environ.get("DOCKER_CONFIG") or home / ".docker", "config.json")


def _in_file(top: Node, reference: Reference, environ: Mapping[str, str]) -> Credentials | None:
    wanted = list(_keys(reference))
    helpers = {_plain(key): key for key in top.get("credHelpers").names()}
    auths = {_plain(key): key for key in top.get("auths").names()}
    store = top.get("credsStore").text("")
    for key in wanted:
        if key in helpers:
            found = _ask(top.get("credHelpers").get(helpers[key]).text(), helpers[key], environ)
            if found is not None:
                return found
        if key in auths:
            found = _entry(top.get("auths").get(auths[key]))
            if found is not None:
                return found
    if store:
        server = "https://index.docker.io/v1/" if reference.host == HUB else reference.host
        return _ask(store, server, environ)
    return None


def _keys(reference: Reference) -> Iterator[str]:
    """Most specific first: the repository, its parents, the host."""
    parts = [reference.host, *reference.repository.split("/")]
    for length in range(len(parts), 0, -1):
        yield "/".join(parts[:length])
    if reference.host == HUB:
        yield HUB_KEY
        yield reference.endpoint


def _plain(key: str) -> str:
    """A key without scheme and API version, which old clients wrote."""
    return re.sub(r"/v[12]/?$", "", re.sub(r"^https?://", "", key)).rstrip("/")


def _entry(node: Node) -> Credentials | None:
    username, password = node.get("username").text(""), node.get("password").text("")
    auth = node.get("auth").text("")
    if auth:
        try:
            username, _, password = base64.b64decode(auth, validate=True).decode().rstrip("\0").partition(":")
        except ValueError:  # of base64 and of UTF-8
            raise SlimmerError(f"{node.where}: its 'auth' is not base64 of USER:PASSWORD") from None
    found = Credentials(username, password, node.get("identitytoken").text(""), node.get("registrytoken").text(""))
    # docker leaves an empty entry for a host whose secret is in its helper
    return None if found == Credentials() else found


def _ask(helper: str, server: str, environ: Mapping[str, str]) -> Credentials | None:
    """The protocol of docker-credential-helpers: `get`, the server on stdin, JSON on stdout."""
    if not HELPER.fullmatch(helper):
        raise SlimmerError(f"{helper!r} is no name of a credential helper")
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, "get"],
            input=server.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(environ),
            timeout=HELPER_PATIENCE,
            check=False,
        )
    except OSError as error:
        raise SlimmerError(
            f"cannot start {program}, which keeps the credentials of {server}: {error.strerror}",
            "install it, or take it out of docker's or podman's configuration",
        ) from error
    except subprocess.TimeoutExpired:
        raise SlimmerError(f"{program} did not answer within {HELPER_PATIENCE} seconds") from None
    if done.returncode:
        # What it prints may hold a secret; only the one answer that is no failure is looked for.
        if b"credentials not found" in done.stdout:
            return None
        raise SlimmerError(f"{program} failed for {server} with exit code {done.returncode}")
    try:
        answer = document.load(done.stdout, program, secret=True)
        username, secret = answer.get("Username").text(""), answer.get("Secret").text("")
    except SlimmerError:
        raise SlimmerError(f"{program} gave an answer for {server} that is not JSON with Username and Secret") from None
    if not secret:
        return None
    return Credentials(identity_token=secret) if username == TOKEN_USER else Credentials(username, secret)

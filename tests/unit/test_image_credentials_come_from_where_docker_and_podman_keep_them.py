"""Credential files and helpers, as containers-auth.json(5) and docker's login documents describe them."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from slimmer.errors import SlimmerError
from slimmer.registry.credentials import Credentials, find
from slimmer.registry.reference import Reference

SECRET = "pa:ss-wörd"
IMAGE = Reference.parse("registry.example:5000/team/project/app:1")
HUB = Reference.parse("debian")


def auth(user: str, password: str = SECRET) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
    }


def helper(tmp_path: Path, name: str, script: str) -> None:
    place = tmp_path / "bin" / f"docker-credential-{name}"
    write(place, f"#!/bin/sh\n{script}\n")
    place.chmod(0o755)


def test_nothing_anywhere_is_an_anonymous_visit(environ: dict[str, str], tmp_path: Path) -> None:
    assert find(IMAGE, environ) is None
    write(tmp_path / ".docker/config.json", "")
    assert find(IMAGE, environ) is None


def test_podmans_files_come_before_dockers_and_a_named_file_alone(environ: dict[str, str], tmp_path: Path) -> None:
    key = "registry.example:5000"
    write(tmp_path / ".docker/config.json", {"auths": {key: auth("docker")}})
    assert find(IMAGE, environ) == Credentials("docker", SECRET)
    write(tmp_path / ".config/containers/auth.json", {"auths": {key: auth("config")}})
    assert find(IMAGE, environ) == Credentials("config", SECRET)
    write(tmp_path / "run/containers/auth.json", {"auths": {key: auth("run")}})
    assert find(IMAGE, environ) == Credentials("run", SECRET)
    write(tmp_path / "named.json", {"auths": {"other.example": auth("other")}})
    assert find(IMAGE, {**environ, "REGISTRY_AUTH_FILE": str(tmp_path / "named.json")}) is None
    write(tmp_path / "elsewhere/config.json", {"auths": {key: auth("elsewhere")}})
    only = {"HOME": str(tmp_path / "nobody"), "DOCKER_CONFIG": str(tmp_path / "elsewhere")}
    assert find(IMAGE, only) == Credentials("elsewhere", SECRET)


def test_the_most_specific_key_wins(environ: dict[str, str], tmp_path: Path) -> None:
    auths = {
        "registry.example:5000": auth("host"),
        "registry.example:5000/team": auth("team"),
        "registry.example:5000/team/project/app": auth("repository"),
        "registry.example:5000/team/pro": auth("not a prefix of names"),
    }
    write(tmp_path / ".docker/config.json", {"auths": auths})
    assert find(IMAGE, environ) == Credentials("repository", SECRET)
    assert find(Reference.parse("registry.example:5000/team/other"), environ) == Credentials("team", SECRET)
    assert find(Reference.parse("registry.example:5000/tea"), environ) == Credentials("host", SECRET)
    assert find(Reference.parse("registry.example/team"), environ) is None  # another port is another host


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "registry-1.docker.io", "index.docker.io"])
def test_docker_hub_is_known_by_all_its_names(key: str, environ: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {key: auth("hub")}})
    assert find(HUB, environ) == Credentials("hub", SECRET)
    assert find(IMAGE, environ) is None


def test_schemes_that_old_clients_wrote_are_ignored(environ: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", {"auths": {"https://registry.example:5000/v2/": auth("old")}})
    assert find(IMAGE, environ) == Credentials("old", SECRET)


def test_tokens_of_each_kind_are_carried(environ: dict[str, str], tmp_path: Path) -> None:
    entry = {**auth("u", ""), "identitytoken": "identity"}
    write(tmp_path / ".docker/config.json", {"auths": {"registry.example:5000": entry}})
    assert find(IMAGE, environ) == Credentials("u", "", "identity")
    write(tmp_path / ".docker/config.json", {"auths": {"registry.example:5000": {"registrytoken": "r"}}})
    assert find(IMAGE, environ) == Credentials(registry_token="r")
    write(tmp_path / ".docker/config.json", {"auths": {"registry.example:5000": {"username": "a", "password": "b"}}})
    assert find(IMAGE, environ) == Credentials("a", "b")


def test_a_helper_is_asked_for_its_host_before_the_file(environ: dict[str, str], tmp_path: Path) -> None:
    helper(
        tmp_path,
        "mine",
        'read server; echo "{\\"ServerURL\\":\\"$server\\",\\"Username\\":\\"$server\\",\\"Secret\\":\\"s\\"}"',
    )
    config: dict[str, Any] = {
        "credHelpers": {"registry.example:5000": "mine"},
        "auths": {"registry.example:5000": auth("f")},
    }
    write(tmp_path / ".docker/config.json", config)
    assert find(IMAGE, environ) == Credentials("registry.example:5000", "s")
    assert find(HUB, environ) is None
    write(tmp_path / ".docker/config.json", {"credsStore": "mine", "auths": {"registry.example:5000": {}}})
    assert find(IMAGE, environ) == Credentials("registry.example:5000", "s")
    assert find(HUB, environ) == Credentials("https://index.docker.io/v1/", "s")


def test_a_helpers_token_is_an_identity_token_and_not_found_is_no_failure(
    environ: dict[str, str], tmp_path: Path
) -> None:
    write(tmp_path / ".docker/config.json", {"credsStore": "mine"})
    helper(tmp_path, "mine", 'echo \'{"Username":"<token>","Secret":"i"}\'')
    assert find(IMAGE, environ) == Credentials(identity_token="i")
    helper(tmp_path, "mine", "echo credentials not found in native keychain; exit 1")
    assert find(IMAGE, environ) is None


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (f"echo {SECRET}; echo {SECRET} >&2; exit 3", "failed for registry.example:5000 with exit code 3"),
        (f"echo {SECRET}", "not JSON"),
        (f'echo \'{{"Secret":["{SECRET}"]}}\'', "not JSON"),
    ],
)
def test_a_helper_that_fails_is_named_without_what_it_said(
    script: str, message: str, environ: dict[str, str], tmp_path: Path
) -> None:
    write(tmp_path / ".docker/config.json", {"credsStore": "mine"})
    helper(tmp_path, "mine", script)
    with pytest.raises(SlimmerError, match=message) as caught:
        find(IMAGE, environ)
    assert SECRET not in str(caught.value)


def test_a_helper_that_is_missing_or_no_name_is_said(environ: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", {"credsStore": "gone"})
    with pytest.raises(SlimmerError, match="cannot start docker-credential-gone"):
        find(IMAGE, environ)
    write(tmp_path / ".docker/config.json", {"credsStore": "../../bin/sh"})
    with pytest.raises(SlimmerError, match="is no name of a credential helper"):
        find(IMAGE, environ)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"auths": {{"registry.example:5000": {{"auth": "{SECRET}"}}}}}}',
        f'{{"auths": {{"registry.example:5000": {{"password": ["{SECRET}"]}}}}}}',
        f'{{"auths": {{"registry.example:5000": "{SECRET}"}}}}',
        f'{{"auths": "{SECRET}"}}',
        f"{SECRET}",
    ],
)
def test_a_damaged_file_is_named_without_its_content(text: str, environ: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / ".docker/config.json", text)
    with pytest.raises(SlimmerError, match=r"config\.json") as caught:
        find(IMAGE, environ)
    assert SECRET not in str(caught.value)

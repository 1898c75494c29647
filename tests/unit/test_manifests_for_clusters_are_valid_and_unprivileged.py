"""docs/kubernetes holds to Kubernetes' own schemas and to its strictest profile for pods; Argo's and Tekton's too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs.reference import HERE
from slimmer import __version__
from slimmer.cli.main import cli
from slimmer.harden.seccomp import Profile
from slimmer.harden.table import DEFAULT

FILES = (*sorted((HERE / "kubernetes").glob("*.yaml")), HERE / "ci/tekton-task.yaml")
PLAIN = ("job.yaml", "cronjob.yaml")
IMAGE = f"registry.example/slimmer:{__version__}"
# Namespaces, what is mounted in them, and a session keyring; clone(2) with any flags.
SANDBOX = {
    *("clone", "unshare", "setns", "sethostname", "keyctl", "mount", "umount2", "pivot_root"),
    *("open_tree", "move_mount", "mount_setattr", "fsopen", "fsconfig", "fsmount"),
}


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return value


def _containers(value: object) -> Iterator[dict[str, Any]]:
    """Whatever runs an image, at any depth."""
    if isinstance(value, dict):
        if "image" in value and ("args" in value or "script" in value):
            yield value
        for each in value.values():
            yield from _containers(each)
    elif isinstance(value, list):
        for each in value:
            yield from _containers(each)


@pytest.mark.parametrize("name", PLAIN)
def test_a_manifest_satisfies_kubernetes_schema(name: str) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    value = _read(HERE / "kubernetes" / name)
    validate.validate(value, validate.latest_version(), strict=True)
    value["spec"]["nonsense"] = 1
    with pytest.raises(validate.ValidationError):
        validate.validate(value, validate.latest_version(), strict=True)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_runs_has_no_privilege(path: Path) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/, "Restricted"."""
    text = path.read_text(encoding="utf-8")
    (container,) = _containers(_read(path))
    context = container["securityContext"]
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert "runAsNonRoot: true" in text
    assert "type: RuntimeDefault" in text
    for word in ("privileged:", "hostPath", "hostNetwork", "hostPID", "Unconfined"):
        assert word not in text


@pytest.mark.parametrize("name", PLAIN)
def test_the_arguments_are_those_of_a_verb(name: str) -> None:
    (container,) = _containers(_read(HERE / "kubernetes" / name))
    verb, *words = container["args"]
    command = cli.get_command(cli.make_context("slim", [], resilient_parsing=True), verb)
    assert command is not None
    context = command.make_context(verb, list(words), resilient_parsing=True)
    assert not context.args


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_mounted_is_there(name: str) -> None:
    (container,) = _containers(_read(HERE / "kubernetes" / name))
    text = (HERE / "kubernetes" / name).read_text(encoding="utf-8")
    for mount in container["volumeMounts"]:
        assert f"- name: {mount['name']}\n" in text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_all_run_one_image_of_slimmer_as_the_pages_name_it(path: Path) -> None:
    assert re.findall(r"registry\.example/slimmer:\S+", path.read_text(encoding="utf-8")) == [IMAGE]
    assert f"slimmer:{__version__}" in (HERE / "after-a-build.md").read_text(encoding="utf-8")


def test_the_seccomp_profile_is_the_runtimes_own_and_what_a_sandbox_is_made_with() -> None:
    document = json.loads((HERE / "kubernetes/seccomp.json").read_text(encoding="utf-8"))
    default = Profile("amd64", dict.fromkeys(DEFAULT, ()), ()).document()
    assert document["defaultAction"] == default["defaultAction"] == "SCMP_ACT_ERRNO"
    (plain, *others), (usual, *conditions) = document["syscalls"], default["syscalls"]
    assert set(plain["names"]) == {*usual["names"], *SANDBOX}
    assert others == [rule for rule in conditions if rule["names"] != ["clone"]]

from __future__ import annotations

import pytest

from slimmer.errors import UsageProblem
from slimmer.root.limits import Limits
from slimmer.root.reference import SourceReference, Transport, parse_reference

SHA = "sha256:" + "0123456789abcdef" * 4

GOOD = {
    "-": SourceReference("-", Transport.STREAM),
    "oci:dir": SourceReference("oci:dir", Transport.OCI, path="dir"),
    "oci:/a/b:1.2": SourceReference("oci:/a/b:1.2", Transport.OCI, path="/a/b", name="1.2"),
    "oci:d:host:5000/app:1": SourceReference("oci:d:host:5000/app:1", Transport.OCI, path="d", name="host:5000/app:1"),
    f"oci:d@{SHA}": SourceReference(f"oci:d@{SHA}", Transport.OCI, path="d", digest=SHA),
    "-:app:1.2": SourceReference("-:app:1.2", Transport.STREAM, name="app:1.2"),
    "oci:user@host/d": SourceReference("oci:user@host/d", Transport.OCI, path="user@host/d"),
    "oci-archive:f.tar:t": SourceReference("oci-archive:f.tar:t", Transport.OCI_ARCHIVE, path="f.tar", name="t"),
    "docker-archive:f:app:1": SourceReference(
        "docker-archive:f:app:1", Transport.DOCKER_ARCHIVE, path="f", name="app:1"
    ),
    "docker://h.example/a/b": SourceReference(
        "docker://h.example/a/b", Transport.REGISTRY, host="h.example", name="a/b", tag="latest"
    ),
    "docker://localhost:5000/a:1": SourceReference(
        "docker://localhost:5000/a:1", Transport.REGISTRY, host="localhost:5000", name="a", tag="1"
    ),
    f"docker://[::1]:5000/a@{SHA}": SourceReference(
        f"docker://[::1]:5000/a@{SHA}", Transport.REGISTRY, host="[::1]:5000", name="a", digest=SHA
    ),
    f"docker://h.example/a:1@{SHA}": SourceReference(
        f"docker://h.example/a:1@{SHA}", Transport.REGISTRY, host="h.example", name="a", tag="1", digest=SHA
    ),
    "docker://busybox": SourceReference("docker://busybox", Transport.REGISTRY, name="busybox", tag="latest"),
    "containers-storage:localhost/app:1": SourceReference(
        "containers-storage:localhost/app:1", Transport.CONTAINERS_STORAGE, path="localhost/app:1"
    ),
    "docker-daemon:app:1": SourceReference("docker-daemon:app:1", Transport.DOCKER_DAEMON, path="app:1"),
    "dir:/srv/root": SourceReference("dir:/srv/root", Transport.DIRECTORY, path="/srv/root"),
}


@pytest.mark.parametrize("text", GOOD)
def test_every_form_is_understood(text: str) -> None:
    assert parse_reference(text) == GOOD[text]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "app",
        "app:1",
        "oci",
        "oci:",
        "oci::tag",
        "ftp://a/b",
        "docker:app",
        "docker://",
        "docker://h.example/",
        "docker://h.example/UPPER",
        "docker://h.example/a:b:c",
        "docker://h.example/../a",
        "docker://h.example/a@sha256:short",
        "docker://h.example/a:" + "t" * 129,
        "docker://user:word@h.example/a",
        "docker://h .example/a",
        "containers-storage:--help",
        "docker-daemon:-x",
        "dir:",
        "oci:a\0b",
    ],
)
def test_what_is_none_of_them_is_a_mistake_of_the_call(text: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        parse_reference(text)
    assert caught.value.exit_code == 2


def test_limits_are_raised_by_their_names() -> None:
    limits = Limits().changed("file-bytes=20G", "entries=5", "devices=yes", "absolute")
    assert (limits.file_bytes, limits.entries, limits.devices, limits.absolute) == (20 << 30, 5, True, True)
    assert limits.total_bytes == Limits().total_bytes


@pytest.mark.parametrize("word", ["none=1", "entries=many", "entries=", "entries", "devices=maybe", "entries=-1"])
def test_limits_that_are_none_are_mistakes_of_the_call(word: str) -> None:
    with pytest.raises(UsageProblem):
        Limits().changed(word)

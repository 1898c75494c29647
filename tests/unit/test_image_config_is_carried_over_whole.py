"""Configurations: everything of the source, overrides as docker does them, and suspicion towards what is hostile."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slimmer.errors import SlimmerError
from slimmer.image.config import Healthcheck, ImageConfig, timestamp

FULL: dict[str, Any] = {
    "architecture": "arm64",
    "variant": "v8",
    "os": "linux",
    "created": "2024-05-05T05:05:05Z",
    "config": {
        "Entrypoint": ["/entry", "--flag"],
        "Cmd": ["serve"],
        "Env": ["PATH=/usr/bin:/bin", "EMPTY=", "EQUALS=a=b", "NONE"],
        "User": "app:app",
        "WorkingDir": "/srv",
        "ExposedPorts": {"8080/tcp": {}, "53/udp": {}, "9000": {}},
        "Volumes": {"/data": {}, "/cache": {}},
        "Labels": {"b": "2", "a": "ü", "empty": ""},
        "StopSignal": "SIGQUIT",
        "StopTimeout": 0,
        "Healthcheck": {"Test": ["CMD", "/probe"], "Interval": 3_000_000_000, "Retries": 2},
        "OnBuild": ["RUN make"],
        "Shell": ["/bin/bash", "-c"],
    },
    "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]},
    "history": [{"created_by": "somebody"}],
}
PARSED = ImageConfig(
    entrypoint=("/entry", "--flag"),
    cmd=("serve",),
    env=(("PATH", "/usr/bin:/bin"), ("EMPTY", ""), ("EQUALS", "a=b"), ("NONE", "")),
    user="app:app",
    workdir="/srv",
    exposed_ports=("53/udp", "8080/tcp", "9000/tcp"),
    volumes=("/cache", "/data"),
    labels=(("a", "ü"), ("b", "2"), ("empty", "")),
    stop_signal="SIGQUIT",
    healthcheck=Healthcheck(test=("CMD", "/probe"), interval=3_000_000_000, retries=2),
    architecture="arm64",
    variant="v8",
    stop_timeout=0,
    shell=("/bin/bash", "-c"),
    on_build=("RUN make",),
)


def parse(value: object) -> ImageConfig:
    return ImageConfig.parse(json.dumps(value).encode())[0]


def test_everything_is_carried_over_and_what_builds_will_run_is_said() -> None:
    config, notes = ImageConfig.parse(json.dumps(FULL).encode())
    assert config == PARSED
    assert [note.split()[0] for note in notes] == ["ONBUILD"]
    assert config.argv == ("/entry", "--flag", "serve")


def test_what_was_written_is_read_back_the_same() -> None:
    text = PARSED.dump(["sha256:" + "1" * 64, "sha256:" + "2" * 64])
    assert ImageConfig.parse(text)[0] == PARSED
    assert ImageConfig.parse(ImageConfig(architecture="amd64").dump([]))[0] == ImageConfig(architecture="amd64")


def test_the_text_is_compact_sorted_and_always_the_same() -> None:
    config = ImageConfig(cmd=("/bin/true",), env=(("A", "b"),), architecture="amd64")
    assert config.dump(["sha256:" + "a" * 64]).decode() == (
        '{"architecture":"amd64","config":{"Cmd":["/bin/true"],"Env":["A=b"]},"created":"1970-01-01T00:00:00Z",'
        '"history":[{"created":"1970-01-01T00:00:00Z","created_by":"slimmer"}],"os":"linux",'
        '"rootfs":{"diff_ids":["sha256:' + "a" * 64 + '"],"type":"layers"}}'
    )


def test_each_layer_has_its_line_of_history_and_the_time_is_the_one_given() -> None:
    top = json.loads(PARSED.dump(["sha256:1", "sha256:2"], 1_700_000_000, ["os layer", "application layer"]))
    assert top["created"] == "2023-11-14T22:13:20Z"
    assert [line["comment"] for line in top["history"]] == ["os layer", "application layer"]
    assert not any("empty_layer" in line for line in top["history"])


def test_times_from_the_year_one_to_9999_can_be_written() -> None:
    assert timestamp(-62135596800) == "0001-01-01T00:00:00Z"
    assert timestamp(253402300799) == "9999-12-31T23:59:59Z"


def test_overrides_add_to_lists_and_replace_words() -> None:
    changed = PARSED.override(
        env=[("EMPTY", "x"), ("NEW", "1")],
        user="0",
        workdir="/",
        exposed_ports=["443", "8080/tcp"],
        volumes=["/data", "/more"],
        labels=[("b", "3"), ("0", "first")],
        stop_signal="SIGTERM",
    )
    assert changed.env == (
        ("PATH", "/usr/bin:/bin"), ("EMPTY", "x"), ("EQUALS", "a=b"), ("NONE", ""), ("NEW", "1"),
    )  # fmt: skip
    assert (changed.user, changed.workdir, changed.stop_signal) == ("0", "/", "SIGTERM")
    assert changed.exposed_ports == ("443/tcp", "53/udp", "8080/tcp", "9000/tcp")
    assert changed.volumes == ("/cache", "/data", "/more")
    assert changed.labels == (("0", "first"), ("a", "ü"), ("b", "3"), ("empty", ""))
    assert PARSED.override() == PARSED


def test_a_new_entrypoint_drops_the_old_command_and_a_new_architecture_the_old_variant() -> None:
    changed = PARSED.override(entrypoint=["/other"])
    assert (changed.entrypoint, changed.cmd) == (("/other",), None)
    assert PARSED.override(entrypoint=["/other"], cmd=["x"]).argv == ("/other", "x")
    assert PARSED.override(cmd=[]).argv == ("/entry", "--flag")
    assert PARSED.override(architecture="amd64").variant == ""


@pytest.mark.parametrize(
    ("config", "argv"),
    [
        ({"Entrypoint": [""], "Cmd": ["serve", "x"]}, ("serve", "x")),
        ({"Entrypoint": [], "Cmd": ["serve"]}, ("serve",)),
        ({"Entrypoint": ["/a", ""], "Cmd": ["b"]}, ("/a", "", "b")),
    ],
)
def test_an_empty_entrypoint_is_none(config: dict[str, object], argv: tuple[str, ...]) -> None:
    found = parse({"architecture": "amd64", "config": config})
    assert found.argv == argv
    assert parse(json.loads(found.dump([]))).argv == argv


@pytest.mark.parametrize(("port", "kept"), [("8888/TCP", "8888/tcp"), ("80/icmp", "80/icmp"), ("x", "x")])
def test_an_odd_port_never_refuses_an_image(port: str, kept: str) -> None:
    config, notes = ImageConfig.parse(json.dumps({"config": {"ExposedPorts": {port: {}}}}).encode())
    assert config.exposed_ports == (kept,)
    assert bool(notes) == (port == kept)


def test_docker_nulls_are_absences() -> None:
    config = parse({"architecture": "amd64", "config": {"Env": None, "Cmd": None, "Labels": None, "Volumes": None}})
    assert config == ImageConfig(architecture="amd64")
    assert parse({"config": None}) == ImageConfig()


def test_the_last_of_two_values_counts_as_in_execve() -> None:
    assert parse({"config": {"Env": ["A=1", "B=2", "A=3"]}}).env == (("A", "3"), ("B", "2"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"[]", r"is \[\], not an object"),
        (b'{"config": []}', "not an object"),
        (b'{"config": {"Env": "A=b"}}', "config: Env is .*, not a list"),
        (b'{"config": {"Env": [1]}}', r"Env\[0\] is 1, not a text"),
        (b'{"config": {"Cmd": ["a\\u0000b"]}}', "not a text without NUL"),
        (b'{"config": {"User": "\\ud800"}}', "lone surrogates"),
        (b'{"config": {"User": true}}', "not a text"),
        (b'{"config": {"StopTimeout": true}}', "not a whole number"),
        (b'{"config": {"StopTimeout": 1e3}}', "not a whole number"),
        (b'{"config": {"StopTimeout": 99999999999999999999}}', "not a whole number"),
        (b'{"config": {"StopTimeout": NaN}}', "NaN is no number"),
        (b'{"config": {"Labels": {"a": {}}}}', "Labels: a is {}, not a text"),
        (b'{"os": "a", "os": "b"}', "one key twice"),
        (b"[" * 100_000, "nested more than 64 deep"),
        (b'{"a":' * 100_000, "nested more than 64 deep"),
        (b" " * (4 * 1024 * 1024 + 1), "is the most that is read"),
        (b"9" * 10_000, "not JSON"),
    ],
)
def test_hostile_configs_are_refused_with_a_place(data: bytes, message: str) -> None:
    with pytest.raises(SlimmerError, match=message):
        ImageConfig.parse(data)


def test_brackets_inside_texts_are_no_depth() -> None:
    assert parse({"config": {"User": "[" * 1000 + '\\"' + "{" * 1000}}).user.startswith("[[[")


def test_what_json_cannot_hold_is_refused_on_the_way_out_too() -> None:
    with pytest.raises(SlimmerError, match="not UTF-8"):
        ImageConfig(env=(("A", "\udcff"),), architecture="amd64").dump([])
    with pytest.raises(SlimmerError, match="architecture"):
        ImageConfig().dump([])

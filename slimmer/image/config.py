"""An image's configuration: what a runtime starts, and for which platform (image-spec, config.md)."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from slimmer.errors import SlimmerError
from slimmer.image.platform import platform_of
from slimmer.registry import document
from slimmer.registry.document import Node

__all__ = ["CREATED_BY", "MEDIA_TYPE", "Healthcheck", "ImageConfig", "platform_of", "timestamp"]

MEDIA_TYPE = "application/vnd.oci.image.config.v1+json"
# Written into the history; no version, or each release would change every image id.
CREATED_BY = "slimmer"


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """Docker's health check. `test` begins with NONE, CMD or CMD-SHELL; times are nanoseconds, 0 means unset."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How an image is started. None for `entrypoint` or `cmd`: not given."""

    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: tuple[tuple[str, str], ...] = ()  # in order, names unique
    user: str = ""
    workdir: str = ""
    exposed_ports: tuple[str, ...] = ()  # "8080/tcp", sorted
    volumes: tuple[str, ...] = ()  # sorted
    labels: tuple[tuple[str, str], ...] = ()  # sorted
    stop_signal: str = ""
    healthcheck: Healthcheck | None = None
    architecture: str = ""  # OCI's name, GOARCH: "amd64"
    variant: str = ""  # "v8"
    os: str = "linux"
    stop_timeout: int | None = None  # seconds; Docker's
    shell: tuple[str, ...] = ()  # what a HEALTHCHECK of form CMD-SHELL, and builds on top, run by
    on_build: tuple[str, ...] = ()
    args_escaped: bool = False  # Docker's, of Windows images

    @classmethod
    def parse(cls, data: bytes) -> tuple[ImageConfig, tuple[str, ...]]:
        """An image's config blob, and notes for a person on what is not carried over. Raises SlimmerError."""
        top = document.load(data, "the image's config")
        config = top.get("config")
        notes: list[str] = []
        if config.get("OnBuild").texts():
            notes.append("ONBUILD instructions of the image are carried over: builds on top of the slim one run them")
        env: dict[str, str] = {}
        for line in config.get("Env").texts():
            name, _, value = line.partition("=")
            if not name:
                notes.append(f"an environment variable without a name was dropped: {line!r}")
                continue
            env[name] = value
        timeout = config.get("StopTimeout")
        found = cls(
            entrypoint=_command(config.get("Entrypoint")),
            cmd=_command(config.get("Cmd")),
            env=tuple(env.items()),
            user=config.get("User").text(""),
            workdir=config.get("WorkingDir").text(""),
            exposed_ports=tuple(sorted({_given(port, notes) for port in config.get("ExposedPorts").names()})),
            volumes=config.get("Volumes").names(),
            labels=config.get("Labels").pairs(),
            stop_signal=config.get("StopSignal").text(""),
            healthcheck=_healthcheck(config.get("Healthcheck")),
            architecture=top.get("architecture").text(""),
            variant=top.get("variant").text(""),
            os=top.get("os").text("") or "linux",
            stop_timeout=None if timeout.missing else timeout.number(),
            shell=config.get("Shell").texts(),
            on_build=config.get("OnBuild").texts(),
            args_escaped=config.get("ArgsEscaped").raw() is True,
        )
        return found, tuple(notes)

    def override(
        self,
        *,
        entrypoint: Sequence[str] | None = None,
        cmd: Sequence[str] | None = None,
        env: Sequence[tuple[str, str]] = (),
        user: str | None = None,
        workdir: str | None = None,
        exposed_ports: Sequence[str] = (),
        volumes: Sequence[str] = (),
        labels: Sequence[tuple[str, str]] = (),
        stop_signal: str | None = None,
        architecture: str | None = None,
        variant: str | None = None,
    ) -> ImageConfig:
        """The same with changes. None and empty leave as it is; env, ports, volumes and labels are added to.

        A new entrypoint without a command drops the old command, as docker does.
        """
        changed = replace(
            self,
            env=tuple({**dict(self.env), **dict(env)}.items()),
            exposed_ports=tuple(sorted({*self.exposed_ports, *map(_port, exposed_ports)})),
            volumes=tuple(sorted({*self.volumes, *volumes})),
            labels=tuple(sorted({**dict(self.labels), **dict(labels)}.items())),
        )
        if entrypoint is not None:
            changed = replace(changed, entrypoint=tuple(entrypoint), cmd=None)
        if cmd is not None:
            changed = replace(changed, cmd=tuple(cmd))
        if user is not None:
            changed = replace(changed, user=user)
        if workdir is not None:
            changed = replace(changed, workdir=workdir)
        if stop_signal is not None:
            changed = replace(changed, stop_signal=stop_signal)
        if architecture is not None:
            changed = replace(changed, architecture=architecture, variant=variant or "")
        elif variant is not None:
            changed = replace(changed, variant=variant)
        return changed

    def without(
        self,
        env: Sequence[str] = (),
        labels: Sequence[str] = (),
        volumes: Sequence[str] = (),
        ports: Sequence[str] = (),
    ) -> ImageConfig:
        """The same less these, by name; what is not there is no error. A port without a protocol is TCP's."""
        gone = {*map(_port, ports)}
        return replace(
            self,
            env=tuple(each for each in self.env if each[0] not in env),
            labels=tuple(each for each in self.labels if each[0] not in labels),
            volumes=tuple(each for each in self.volumes if each not in volumes),
            exposed_ports=tuple(each for each in self.exposed_ports if each not in gone),
        )

    def dump(self, diff_ids: Sequence[str], created: int = 0, comments: Sequence[str] = ()) -> bytes:
        """The config blob: its digest is the image id. `created` is seconds since 1970.

        One history entry a layer; `comments`, when given, names each layer there. Raises SlimmerError.
        """
        if not self.architecture:
            raise SlimmerError("the image's architecture is not known", "name it with --platform")
        stamp = timestamp(created)
        history = [
            _filled(created=stamp, created_by=CREATED_BY, comment=comments[index] if index < len(comments) else "")
            for index in range(len(diff_ids))
        ]
        config = _filled(
            Entrypoint=None if self.entrypoint is None else list(self.entrypoint),
            Cmd=None if self.cmd is None else list(self.cmd),
            Env=[f"{name}={value}" for name, value in self.env],
            User=self.user,
            WorkingDir=self.workdir,
            ExposedPorts={port: {} for port in self.exposed_ports},
            Volumes={volume: {} for volume in self.volumes},
            Labels=dict(self.labels),
            StopSignal=self.stop_signal,
            Shell=list(self.shell),
            OnBuild=list(self.on_build),
            ArgsEscaped=self.args_escaped or None,
        )
        if self.stop_timeout is not None:
            config["StopTimeout"] = self.stop_timeout
        if self.healthcheck is not None:
            check = self.healthcheck
            config["Healthcheck"] = _filled(
                Test=list(check.test),
                Interval=check.interval,
                Timeout=check.timeout,
                StartPeriod=check.start_period,
                StartInterval=check.start_interval,
                Retries=check.retries,
            )
        return document.dump(
            _filled(
                architecture=self.architecture,
                variant=self.variant,
                os=self.os,
                created=stamp,
                history=history,
            )
            | {"config": config, "rootfs": {"type": "layers", "diff_ids": list(diff_ids)}}
        )

    @property
    def argv(self) -> tuple[str, ...]:
        """What a runtime starts: entrypoint and cmd together. An entrypoint of one empty word is none (Dockerfile's
        `ENTRYPOINT [""]`, which podman commit writes too).
        """
        entrypoint = () if self.entrypoint == ("",) else self.entrypoint or ()
        return entrypoint + (self.cmd or ())


def health_argv(config: ImageConfig) -> tuple[str, ...]:
    """What a runtime starts for HEALTHCHECK, by the image's SHELL where that is its form; empty when there is none.

    moby, daemon/health.go: getShell.
    """
    kind, *words = (config.healthcheck.test if config.healthcheck else ()) or ("",)
    if kind == "CMD":
        return tuple(words)
    if kind == "CMD-SHELL" and words:
        return (*(config.shell or ("/bin/sh", "-c")), words[0])
    return ()


def timestamp(seconds: int) -> str:
    """RFC 3339 in UTC."""
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    return f"{moment.isoformat()}Z"


def _filled(**fields: Any) -> dict[str, Any]:
    """Without what is empty: absent and empty mean the same, and one of them has to be the rule."""
    return {name: value for name, value in fields.items() if value not in (None, "", 0, [], {})}


def _command(node: Node) -> tuple[str, ...] | None:
    return None if node.missing else node.texts()


def _port(port: str) -> str:
    """A bare "8080" is "8080/tcp". Raises SlimmerError for what is no port or range."""
    numbers, _, protocol = port.partition("/")
    protocol = protocol.lower() or "tcp"
    first, dash, last = numbers.partition("-")
    for number in (first, last) if dash else (first,):
        if not (number.isascii() and number.isdigit() and len(number) <= 5 and int(number) <= 65535):
            raise SlimmerError(f"{port!r} is no port", "write 8080, 8080/tcp or 53/udp")
    if protocol not in ("tcp", "udp", "sctp"):
        raise SlimmerError(f"{port!r} is no port: its protocol is none of tcp, udp and sctp")
    return f"{numbers}/{protocol}"


def _given(port: str, notes: list[str]) -> str:
    """A port of the source image; one that is none is carried over as it is."""
    try:
        return _port(port)
    except SlimmerError as error:
        notes.append(f"EXPOSE is carried over as it is: {error.message}")
        return port


def _healthcheck(node: Node) -> Healthcheck | None:
    if node.missing:
        return None
    return Healthcheck(
        test=node.get("Test").texts(),
        interval=node.get("Interval").number(0),
        timeout=node.get("Timeout").number(0),
        start_period=node.get("StartPeriod").number(0),
        start_interval=node.get("StartInterval").number(0),
        retries=node.get("Retries").number(0),
    )

"""A compose file as a recipe: one of its services is the application, those that it depends on run beside it.

compose-spec's 05-services.md. Volumes with names begin empty, as everything else of a run does; directories of the host
are mounted read-only, so that no run changes them. Networks are one: the application's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from slimmer.errors import UsageProblem
from slimmer.recipe import ImageOptions, Recipe, Run, Sandbox, Source
from slimmer.recipe_checks import read_environment, split_words
from slimmer.service import Service

VARIABLE = re.compile(
    r"\$(?:\$|(?P<plain>[A-Za-z_]\w*)|\{(?P<name>[A-Za-z_]\w*)(?:(?P<how>:?[-?+])(?P<other>[^}]*+))?(?P<end>\}?))"
)
TRANSPORT = re.compile(r"[a-z][a-z-]*:(?://|[/.])|(?:oci|oci-archive|docker-archive|containers-storage|docker-daemon):")


def read(path: Path, name: str, environ: Mapping[str, str], replaced: Sequence[str] = ()) -> Recipe:
    """The recipe that has the service `name` as its application. `replaced` are services that the caller names himself.

    Raises UsageProblem.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageProblem(f"cannot read --compose {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UsageProblem(f"--compose {path}: not YAML: {error}") from error
    services = document.get("services") if isinstance(document, dict) else None
    if not isinstance(services, dict) or not all(isinstance(each, dict) for each in services.values()):
        raise UsageProblem(f"--compose {path}: no services in it", "name a compose file")
    beside = path.with_name(".env")
    known = {**(read_environment(beside, environ) if beside.is_file() else {}), **environ}
    file = _File(path, _filled(services, known))
    if name not in file.services:
        choice = ", ".join(map(str, file.services))
        raise UsageProblem(f"--compose {path}: no service {name!r}", f"--compose-service takes one of {choice}")
    return file.recipe(name, replaced)


class _File:
    def __init__(self, path: Path, services: Mapping[str, Mapping[str, Any]]) -> None:
        self._path = path
        self.services = services

    def recipe(self, name: str, replaced: Sequence[str]) -> Recipe:
        value = self._value(name)
        image = value.get("image")
        return Recipe(
            source=Source(image=_reference(image)) if image else Source(),
            runs=(
                Run(
                    env=self._environment(value),
                    env_file=self._env_files(value),
                    user=_text(value, "user"),
                    workdir=_text(value, "working_dir"),
                ),
            ),
            services=tuple(
                self._service(each, how) for each, how in self._needed(name).items() if each not in replaced
            ),
            sandbox=Sandbox(mounts=tuple(self._mounts(value))),
            image=ImageOptions(entrypoint=_argv(value.get("entrypoint")), cmd=_argv(value.get("command"))),
        )

    def _value(self, name: str) -> Mapping[str, Any]:
        value = self.services.get(name)
        if value is None:
            raise UsageProblem(f"--compose {self._path}: a service depends on {name!r}, which is not there")
        if "extends" in value:
            hint = "write the whole of it: `docker compose config` prints a file without them"
            raise UsageProblem(f"--compose {self._path}: the service {name} extends another", hint)
        return value

    def _needed(self, name: str) -> dict[str, str]:
        """What a service depends on, each after what it depends on itself, and the condition. Raises UsageProblem."""
        order: dict[str, str] = {}
        way: list[str] = []

        def walk(current: str) -> None:
            if current in way:
                raise UsageProblem(f"--compose {self._path}: {' → '.join([*way, current])} depend on one another")
            way.append(current)
            for each, how in _depends(self._value(current)):
                if each not in order:
                    walk(each)
                    order[each] = how
            way.pop()

        walk(name)
        return order

    def _service(self, name: str, how: str) -> Service:
        value = self._value(name)
        image = value.get("image")
        if not image:
            hint = f"build it, and name the result: --service {name}=IMAGE"
            raise UsageProblem(f"--compose {self._path}: the service {name} has no image", hint)
        return Service(
            name,
            image=_reference(image),
            entrypoint=_argv(value.get("entrypoint")),
            cmd=_argv(value.get("command")),
            env=self._environment(value),
            env_file=self._env_files(value),
            user=_text(value, "user"),
            workdir=_text(value, "working_dir"),
            health=_health(value.get("healthcheck")),
            completes=how == "service_completed_successfully",
            aliases=tuple(dict.fromkeys(each for each in _aliases(value) if each != name)),
            mounts=tuple(self._mounts(value)),
        )

    def _environment(self, value: Mapping[str, Any]) -> dict[str, str]:
        found = value.get("environment") or {}
        if isinstance(found, Mapping):
            return {str(key): _scalar(each) for key, each in found.items() if each is not None}
        pairs = (str(each).partition("=") for each in found)
        return {key: each for key, equals, each in pairs if equals}

    def _env_files(self, value: Mapping[str, Any]) -> tuple[str, ...]:
        files = []
        for each in _listed(value.get("env_file")):
            name, required = (
                (each.get("path"), each.get("required", True)) if isinstance(each, Mapping) else (each, True)
            )
            place = self._path.parent / str(name)
            if required or place.is_file():
                files.append(str(place.absolute()))
        return tuple(files)

    def _mounts(self, value: Mapping[str, Any]) -> Iterator[str]:
        for each in _listed(value.get("volumes")):
            if isinstance(each, Mapping):
                source, target = (str(each.get(key, "")) for key in ("source", "target"))
                if each.get("type") != "bind":
                    continue
            else:
                source, _, rest = str(each).partition(":")
                target = rest.partition(":")[0]
            if target and source.startswith(("/", ".", "~")):
                place = Path(source).expanduser()
                yield f"{(self._path.parent / place).resolve()}:{target}"


def _depends(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    found = value.get("depends_on") or ()
    if isinstance(found, Mapping):
        for name, each in found.items():
            yield str(name), str((each or {}).get("condition", ""))
    else:
        yield from ((str(name), "") for name in found)
    yield from ((str(each).partition(":")[0], "") for each in value.get("links") or ())


def _aliases(value: Mapping[str, Any]) -> Iterator[str]:
    yield from (str(value[key]) for key in ("container_name", "hostname") if value.get(key))
    networks = value.get("networks")
    for each in networks.values() if isinstance(networks, Mapping) else ():
        yield from map(str, (each or {}).get("aliases") or ())


def _health(value: Any) -> tuple[str, ...]:
    """What a healthcheck runs, to be started without a runtime."""
    test = value.get("test") if isinstance(value, Mapping) and not value.get("disable") else None
    if isinstance(test, str):
        return ("/bin/sh", "-c", test)
    kind, *words = map(str, test or ("NONE",))
    return ("/bin/sh", "-c", *words) if kind == "CMD-SHELL" else tuple(words) if kind == "CMD" else ()


def _argv(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    return split_words(value) if isinstance(value, str) and value.strip() else tuple(map(str, value or ()))


def _reference(image: object) -> str:
    text = str(image)
    return text if TRANSPORT.match(text) else f"docker://{text}"


def _text(value: Mapping[str, Any], key: str) -> str | None:
    return None if value.get(key) is None else str(value[key])


def _scalar(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _listed(value: Any) -> Sequence[Any]:
    return () if value is None else value if isinstance(value, list) else [value]


def _filled(value: Any, environ: Mapping[str, str]) -> Any:
    """With its variables: $NAME, ${NAME}, ${NAME:-default}, ${NAME:?needed}, ${NAME:+given}; $$ is a dollar."""
    if isinstance(value, str):
        return VARIABLE.sub(lambda match: _variable(match, environ), value)
    if isinstance(value, dict):
        return {key: _filled(each, environ) for key, each in value.items()}
    return [_filled(each, environ) for each in value] if isinstance(value, list) else value


def _variable(match: re.Match[str], environ: Mapping[str, str]) -> str:
    name = match["plain"] or match["name"]
    if name is None:
        return "$"
    if (
        match["name"] and not match["end"]
    ):  # that it may be missing keeps the pattern from looking for it again and again
        return match[0]
    how, other, found = match["how"] or "", match["other"] or "", environ.get(name)
    there = bool(found) if how.startswith(":") else found is not None
    if how.endswith("+"):
        return other if there else ""
    if there:
        return found or ""
    if how.endswith("?"):
        raise UsageProblem(f"the compose file needs {name}: {other or 'it is not set'}", f"set {name}")
    return other

"""A recipe from what a verb's options say, over the recipe that --recipe names."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from slimmer import recipe as recipes
from slimmer.cli.company import composed, services_over
from slimmer.errors import UsageProblem
from slimmer.recipe import ImageOptions, Keep, Layers, Reach, Recipe, Run, Sandbox, Source, split_command, split_words
from slimmer.values import masked
from tracer.recorder.protocol import Choice
from tracer.session import Init


def recipe_from(options: Mapping[str, Any]) -> Recipe:
    """A Recipe from a verb's options, over --recipe's. Raises UsageProblem."""
    base = recipes.load(Path(options["recipe"])) if options.get("recipe") else composed(options)
    return recipe_over(base or Recipe(), options)


def recipe_over(base: Recipe, options: Mapping[str, Any]) -> Recipe:
    """A Recipe changed by a verb's options: single values replace, lists are added to. Raises UsageProblem."""
    if options.get("root") and options.get("image"):
        raise UsageProblem("--root and --image both name the fat root", "give one of them")
    env = pairs(options.get("envs") or (), "--env")
    return Recipe(
        source=_source(base.source, options),
        services=services_over(base.services, options),
        runs=_runs(base.runs, options, env),
        sandbox=Sandbox(
            recorder=Choice(options.get("recorder") or base.sandbox.recorder),
            network=_network(options.get("network") or base.sandbox.network),
            reset=(*base.sandbox.reset, *(split_words(line) for line in options.get("resets") or ())),
            publish=(*base.sandbox.publish, *_published(base.sandbox.publish, options.get("publish") or ())),
            mounts=(*base.sandbox.mounts, *(options.get("mounts") or ())),
            secrets=(*base.sandbox.secrets, *(options.get("secrets") or ())),
            hostname=options.get("hostname") or base.sandbox.hostname,
            hosts=(*base.sandbox.hosts, *(options.get("add_hosts") or ())),
            init=Init(options.get("init") or base.sandbox.init),
            cap_add=(*base.sandbox.cap_add, *(options.get("cap_adds") or ())),
            allow_nested=options.get("allow_nested") or base.sandbox.allow_nested,
            pids=base.sandbox.pids if options.get("pids") is None else options["pids"],
            memory=options.get("memory") or base.sandbox.memory,
            trust_root=options.get("trust_root") or base.sandbox.trust_root,
        ),
        reach=Reach(
            keep=Keep(options.get("keep") or base.reach.keep),
            include=(*base.reach.include, *(options.get("includes") or ())),
            exclude=(*base.reach.exclude, *(options.get("excludes") or ())),
            profiles=(*base.reach.profiles, *(options.get("profiles") or ())),
            no_profiles=(*base.reach.no_profiles, *(options.get("no_profiles") or ())),
            cpu=options.get("cpu") or base.reach.cpu,
            scanner_data=base.reach.scanner_data
            if options.get("scanner_data") is None
            else options["scanner_data"] != "none",
        ),
        image=_image(base.image, options),
        lock=base.lock,
        repairs=base.repairs,
    )


def _published(known: Sequence[str], named: Sequence[str]) -> Iterator[str]:
    """What is named and not known: the same port twice would be taken already."""
    for text in named:
        try:
            recipes.read_published(text)
        except UsageProblem as error:
            raise UsageProblem(f"--publish {error.message}", error.hint) from error
        if text not in known:
            yield text


def _network(text: str) -> str:
    try:
        return Sandbox(network=text).network
    except UsageProblem as error:
        raise UsageProblem(f"--network {text}: {error.message}", error.hint) from error


def _source(base: Source, options: Mapping[str, Any]) -> Source:
    source = base
    if options.get("root"):
        source = dataclasses.replace(source, root=options["root"], image="")
    if options.get("image"):
        source = dataclasses.replace(source, image=options["image"], root="/")
    source = dataclasses.replace(source, limits=(*source.limits, *(options.get("limits") or ())))
    return dataclasses.replace(
        source,
        platform=options.get("platform") or source.platform,
        qemu=options.get("qemu") or source.qemu,
        insecure=options.get("insecure") or source.insecure,
    )


def _runs(base: Sequence[Run], options: Mapping[str, Any], env: Mapping[str, str]) -> tuple[Run, ...]:
    """The flags speak of the first run; without a recipe there is just that one."""
    first, *others = base or (Run(),)
    changes: dict[str, Any] = {
        name: options[key]
        for name, key in (
            ("user", "user"),
            ("workdir", "workdir"),
            ("ready", "ready"),
            ("ready_timeout", "ready_timeout"),
            ("exec_timeout", "exec_timeout"),
            ("seconds", "seconds"),
            ("default_exercise", "default_exercise"),
            ("expect_exit", "expect_exit"),
            ("stop_signal", "stop_signal"),
            ("grace", "grace"),
        )
        if options.get(key) is not None
    }
    if options.get("run") is not None:
        changes["command"] = split_command(options["run"])
    for name, key in (("exec", "execs"), ("client", "clients")):
        if options.get(key):
            changes[name] = (*getattr(first, name), *(split_words(line) for line in options[key]))
    for name, key in (("crawl", "crawls"), ("openapi", "openapis")):
        if options.get(key):
            changes[name] = _urls(getattr(first, name), options[key])
    if options.get("probes"):
        changes["probes"] = _probes(first.probes, [_probe(text) for text in options["probes"]])
    if env:
        changes["env"] = {**first.env, **env}
    if options.get("env_files"):
        for name in options["env_files"]:
            recipes.read_environment(Path(name), {})
        changes["env_file"] = (*first.env_file, *(str(Path(name).absolute()) for name in options["env_files"]))
    return (_changed(first, changes), *others)


def _completed(known: Sequence[str], named: Sequence[str]) -> tuple[list[str], list[int]]:
    """URLs that were written without their credentials, with those of the named; and which of these that uses up."""
    whole = {masked(url): at for at, url in enumerate(named) if masked(url) != url}
    used = [whole[url] for url in known if url in whole]
    return [named[whole[url]] if url in whole else url for url in known], used


def _urls(known: Sequence[str], named: Sequence[str]) -> tuple[str, ...]:
    complete, used = _completed(known, named)
    return (*complete, *(each for at, each in enumerate(named) if at not in used))


def _probes(known: Sequence[recipes.Probe], named: Sequence[recipes.Probe]) -> tuple[recipes.Probe, ...]:
    complete, used = _completed([each.url for each in known], [each.url for each in named])
    rest = (each for at, each in enumerate(named) if at not in used)
    return (*(dataclasses.replace(each, url=url) for each, url in zip(known, complete, strict=True)), *rest)


def _probe(text: str) -> recipes.Probe:
    try:
        return recipes.probe(text)
    except UsageProblem as error:
        raise UsageProblem(f"--probe {error.message}", error.hint) from error


def _changed(run: Run, changes: Mapping[str, Any]) -> Run:
    """The run with what the flags say; what is wrong is named by its flag. Raises UsageProblem."""
    for name in ("ready", "stop_signal", "workdir", "user"):
        if name not in changes:
            continue
        try:
            dataclasses.replace(run, **{name: changes[name]})
        except UsageProblem as error:
            flag, value = f"--{name.replace('_', '-')}", changes[name]
            said = error.message.removeprefix(f"{name.replace('_', ' ')} {value}: ")
            raise UsageProblem(f"{flag} {value}: {said}", error.hint) from error
    return dataclasses.replace(run, **changes)


def _image(base: ImageOptions, options: Mapping[str, Any]) -> ImageOptions:
    changes: dict[str, Any] = {
        key: options[key] for key in ("compression", "mtime", "healthcheck") if options.get(key) is not None
    }
    if options.get("tag"):
        changes["tag"] = options["tag"]
    if options.get("layers"):
        changes["layers"] = Layers(options["layers"])
    for key in ("entrypoint", "cmd"):
        if options.get(key) is not None:
            changes[key] = _words(options[key])
    return dataclasses.replace(
        base,
        env={**base.env, **pairs(options.get("image_envs") or (), "--image-env")},
        expose=(*base.expose, *(options.get("exposes") or ())),
        label={**base.label, **pairs(options.get("labels") or (), "--label")},
        volume=(*base.volume, *(options.get("volumes") or ())),
        chmod={**base.chmod, **_by_path(options.get("chmod") or (), "--chmod")},
        chown={**base.chown, **_by_path(options.get("chown") or (), "--chown")},
        remove_env=(*base.remove_env, *(options.get("remove_envs") or ())),
        remove_label=(*base.remove_label, *(options.get("remove_labels") or ())),
        remove_volume=(*base.remove_volume, *(options.get("remove_volumes") or ())),
        remove_expose=(*base.remove_expose, *(options.get("remove_exposes") or ())),
        **changes,
    )


def _by_path(values: Sequence[str], option: str) -> dict[str, str]:
    """PATH=VALUE texts, where a path may hold a = too. Raises UsageProblem."""
    found = {}
    for text in values:
        path, _, value = text.rpartition("=")
        try:
            recipes.check_attribute(option.removeprefix("--"), path, value)
        except UsageProblem as error:
            raise UsageProblem(f"{option} {text}: {error.message}", error.hint) from error
        found[path] = value
    return found


def _words(text: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UsageProblem(f"cannot split {text!r}: {error}", "check its quotes") from error


def pairs(values: Sequence[str], option: str) -> dict[str, str]:
    """NAME=VALUE texts. Raises UsageProblem."""
    found = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise UsageProblem(f"{option} {text}: write NAME=VALUE")
        found[name] = value
    return found

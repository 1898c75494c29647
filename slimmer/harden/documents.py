"""What is written for runtimes: flags for docker and podman, a security context for Kubernetes."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from slimmer.harden.needs import Needs, Place

SECCOMP, APPARMOR, CONTEXT, FLAGS, REASONS = (
    "seccomp.json",
    "apparmor.profile",
    "security-context.yaml",
    "flags.txt",
    "reasons.json",
)
FOLDER = "harden"


def read_only(needs: Needs) -> bool:
    """Whether the root can be read-only: not where a run wrote beside the directories of the image."""
    return all(each.path != "/" for each in needs.writable)


def flags(needs: Needs, directory: str, profile: str = "") -> list[str]:
    """For `docker run` and `podman run`, one a line. `profile` names a loaded AppArmor profile."""
    lines = [f"--security-opt=seccomp={directory}/{SECCOMP}"]
    if profile:
        lines.append(f"--security-opt=apparmor={profile}")
    if not needs.gains:
        lines.append("--security-opt=no-new-privileges")
    lines.append("--cap-drop=all")
    lines += [f"--cap-add={name.lower()}" for name in needs.capabilities]
    if not needs.root:
        lines.append(f"--user={needs.uid}:{needs.gid}")
        lines += [f"--group-add={each}" for each in needs.groups]
    if read_only(needs):
        lines.append("--read-only")
        lines += [_mount(each) for each in needs.writable]
    return lines


def _mount(place: Place) -> str:
    """Memory; or where the image has files or another owner there, or wants them kept, a volume: runtimes copy into it.

    docker takes an owner of a tmpfs, podman takes none.
    """
    if place.volume or place.held or place.uid or place.gid:
        return f"--mount=type=volume,destination={place.path}"
    return f"--tmpfs={place.path}:rw,nosuid,nodev,mode={place.mode:o}"


def context(needs: Needs, name: str) -> str:
    """security-context.yaml: the parts of a pod, each permission with its reason beside it."""
    return "\n".join(_context(needs, name)) + "\n"


def _context(needs: Needs, name: str) -> Iterator[str]:
    yield "# Parts of a pod's specification. seccomp.json goes below the kubelet's seccomp directory of each node"
    yield "# (/var/lib/kubelet/seccomp), or is distributed by the Security Profiles Operator."
    yield "securityContext:"
    yield f"  runAsUser: {needs.uid}"
    yield f"  runAsGroup: {needs.gid}"
    if needs.groups:
        yield f"  supplementalGroups: [{', '.join(map(str, needs.groups))}]"
    if not needs.root:
        yield "  runAsNonRoot: true"
        if needs.writable:
            yield f"  fsGroup: {needs.gid}  # an emptyDir belongs to root, and to this group"
    yield "  seccompProfile:"
    yield "    type: Localhost"
    yield f"    localhostProfile: {name}/{SECCOMP}"
    yield "containers:"
    yield f"  - name: {_quoted(name)}"
    if needs.ports:
        yield "    ports:"
        for port in needs.ports:
            number, _, protocol = port.partition("/")
            if number.isdigit():
                yield f"      - {{containerPort: {number}, protocol: {(protocol or 'tcp').upper()}}}"
    yield "    securityContext:"
    if read_only(needs):
        yield "      readOnlyRootFilesystem: true"
    else:
        yield "      readOnlyRootFilesystem: false  # the run wrote in / itself"
    if needs.gains:
        first = needs.gains[0]
        yield f"      allowPrivilegeEscalation: true  # {_comment(f'{first.path}: {first.text}')}"
    else:
        yield "      allowPrivilegeEscalation: false  # no file of the image is setuid, setgid or carries a capability"
    yield "      capabilities:"
    yield "        drop: [ALL]"
    if needs.capabilities:
        yield "        add:"
        for each, reason in needs.capabilities.items():
            yield f"          - {each}  # {_comment(' '.join(filter(None, (reason.path, reason.text))))}"
    if read_only(needs) and needs.writable:
        yield "    volumeMounts:"
        for index, place in enumerate(needs.writable):
            yield f"      - {{name: write-{index}, mountPath: {_quoted(place.path)}}}  # {_comment(place.why)}"
        yield "volumes:"
        for index, place in enumerate(needs.writable):
            if place.held:
                yield f"  # {_comment(place.path)}: the image has {place.held} paths there, which an emptyDir hides:"
                yield "  # fill it by an init container, or take a claim that holds them"
            yield f"  - {{name: write-{index}, emptyDir: {{}}}}"


def _quoted(text: str) -> str:
    found: str = yaml.safe_dump(text, default_style='"', width=1 << 20)
    return found.strip()


def _comment(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)

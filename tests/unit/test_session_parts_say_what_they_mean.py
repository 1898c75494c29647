"""The pieces of a session that are data in, data out: filters, maps, architectures, frames, program search."""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.support import plant
from tracer.errors import TracerError
from tracer.kernel import filters, userns
from tracer.runner import overlay, programs, protocol, qemu

ALLOW, DONE, REFUSED = 0x7FFF0000, 0x00050000, 0x00050001
X86_64, I386 = filters._X86_64, filters._I386


def judge(program: bytes, audit: int, number: int, *arguments: int) -> int:
    """What a BPF program answers, by a small interpreter of the instructions that it may use."""
    data = struct.pack("=iIQ6Q", number, audit, 0, *(arguments + (0,) * 6)[:6])
    code = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        operation, yes, no, value = code[at]
        at += 1
        match operation:
            case 0x20:
                accumulator = int.from_bytes(data[value : value + 4], "little")
            case 0x54:
                accumulator &= value
            case 0x15:
                at += yes if accumulator == value else no
            case 0x35:
                at += yes if accumulator >= value else no
            case 0x45:
                at += yes if accumulator & value else no
            case 0x05:
                at += value
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"no such instruction: {operation:#x}")


def test_pretended_calls_succeed_and_all_others_pass() -> None:
    program = filters.pretend_program((X86_64, I386), paths=True)
    setuid, chown, fchown, mknod, openat = 105, 92, 93, 133, 257
    for number in (setuid, chown, fchown, 116):
        assert judge(program, X86_64.audit, number) == DONE
    assert judge(program, X86_64.audit, openat) == ALLOW
    assert judge(program, X86_64.audit, mknod, 0, 0o020666) == DONE
    assert judge(program, X86_64.audit, mknod, 0, 0o060600) == DONE
    assert judge(program, X86_64.audit, mknod, 0, 0o010600) == ALLOW  # a fifo is really made
    assert judge(program, I386.audit, 213) == DONE
    assert judge(program, I386.audit, 105) == ALLOW
    assert judge(program, 0xC00000B7, 105) == ALLOW  # an architecture that it does not know


def test_calls_with_a_path_are_left_to_a_recorder() -> None:
    program = filters.pretend_program((X86_64,), paths=False)
    assert judge(program, X86_64.audit, 105) == DONE
    assert judge(program, X86_64.audit, 93) == DONE
    for number in (92, 94, 260, 133, 259):
        assert judge(program, X86_64.audit, number, 0, 0o020666, 0o020666) == ALLOW


def test_protected_processes_get_no_signal_and_others_do() -> None:
    program = filters.protect_program((X86_64, I386), (41, 42, 43, 44))
    kill, tgkill, queue = 62, 234, 129
    assert judge(program, X86_64.audit, kill, 42, 9) == REFUSED
    assert judge(program, X86_64.audit, kill, 45, 9) == ALLOW
    assert judge(program, X86_64.audit, kill, 0xFFFFFFFF, 9) == REFUSED  # every process there is
    assert judge(program, X86_64.audit, kill, 0, 9) == ALLOW  # one's own group
    assert judge(program, X86_64.audit, 424, 5, 9) == REFUSED & 0xFFFF0000 | 38  # pidfd_send_signal: not there
    assert judge(program, X86_64.audit, 298) == REFUSED  # perf_event_open
    assert judge(program, X86_64.audit, 179) == REFUSED  # quotactl
    assert judge(program, X86_64.audit, tgkill, 44, 99, 9) == REFUSED
    assert judge(program, X86_64.audit, tgkill, 99, 44, 9) == REFUSED
    assert judge(program, X86_64.audit, queue, 41, 9) == REFUSED
    assert judge(program, X86_64.audit, 1, 42) == ALLOW
    assert judge(program, I386.audit, 37, 43) == REFUSED


@pytest.mark.parametrize(
    ("given", "name", "machine"),
    [
        ("linux/arm64", "aarch64", 183),
        ("arm64/v8", "aarch64", 183),
        ("arm/v7", "armv7l", 40),
        ("armhf", "armv7l", 40),
        ("s390x", "s390x", 22),
        ("ppc64el", "ppc64le", 21),
        ("riscv64", "riscv64", 243),
    ],
)
def test_architectures_go_by_the_names_of_oci_debian_and_uname(
    monkeypatch: pytest.MonkeyPatch, given: str, name: str, machine: int
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    found = qemu.guest(given)
    assert found is not None
    assert (found.name, found.machine) == (name, machine)
    magic, mask = found.magic
    assert len(magic) == len(mask) == 20
    big = found.name == "s390x"
    header = b"\x7fELF" + bytes((2 if found.wide else 1, 2 if big else 1, 1, 3)) + bytes(8)
    header += struct.pack(">HH" if big else "<HH", 3, machine)
    assert bytes(a & b for a, b in zip(header, mask, strict=True)) == bytes(
        a & b for a, b in zip(magic, mask, strict=True)
    )


def test_what_this_machine_runs_by_itself_needs_no_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert qemu.guest("amd64") is None
    assert qemu.guest("linux/386") is None
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert qemu.guest("arm64") is None
    assert qemu.guest("amd64") is not None


def test_ranges_are_found_by_name_and_by_number_and_laid_end_to_end(tmp_path: Path) -> None:
    file = tmp_path / "subuid"
    file.write_text("root:100:10\n0:500:20\nother:1:1\nbroken\nroot:x:1\nroot:5:0\n")
    assert userns._ranges(str(file), 0) == [(100, 10), (500, 20)]
    assert userns._compose(1000, [(100, 10), (500, 20)]) == ((0, 1000, 1), (1, 100, 10), (11, 500, 20))
    assert userns._ranges(str(tmp_path / "missing"), 0) == []
    chosen = userns.Plan(userns.Map.RANGES, userns._compose(1000, [(100, 10)]), ())
    assert [chosen.has(uid) for uid in (1000, 100, 109, 110, 0)] == [True, True, True, False, False]


def test_frames_carry_odd_names_large_answers_and_descriptors() -> None:
    one, other = socket.socketpair()
    near, far = protocol.Wire(one), protocol.Wire(other)
    request = protocol.Spawn(("a\udcff\n", ""), (("K", "v=\udc80"),), "/x y", 1, 2, (3, 4))
    near._send({"request": "Spawn", **asdict(request)}, (0, 1))
    got, descriptors = far.request()
    assert got == request
    assert len(descriptors) == 2
    for descriptor in descriptors:
        assert not os.get_inheritable(descriptor)
        os.close(descriptor)
    far.reply(protocol.Answer(paths=("/p",) * 3000))
    assert near.answer()[0].paths == ("/p",) * 3000
    far.close()
    with pytest.raises(protocol.Closed):
        near.answer()
    near.close()


def test_programs_are_searched_as_execvp_does(tmp_path: Path) -> None:
    plant(tmp_path, {"a/plain": "x", "b/plain": "#755 x", "b/dir": None, "work/here": "#755 x", "c/dir": "#755 x"})
    path = {"PATH": f"{tmp_path}/none:{tmp_path}/a:{tmp_path}/b:{tmp_path}/c"}
    assert programs.find("plain", path, "/") == f"{tmp_path}/b/plain"
    assert programs.find("dir", path, "/") == f"{tmp_path}/c/dir"
    assert programs.find("./any", path, "/") == "./any"
    assert programs.find("here", {"PATH": ":/bin"}, f"{tmp_path}/work") == "./here"
    assert programs.find("sh", {}, "/").endswith("/sh")
    with pytest.raises(TracerError, match="not executable"):
        programs.find("plain", {"PATH": f"{tmp_path}/a"}, "/")
    with pytest.raises(TracerError, match="command not found"):
        programs.find("plain", {"PATH": ""}, "/")


def test_the_interpreter_of_a_program_is_read_from_its_bytes() -> None:
    assert programs._interpreter(b"#! /usr/bin/env python3\nrest", "") == "/usr/bin/env"
    assert programs._interpreter(b"#!\n", "") == ""
    assert programs._interpreter(b"echo", "") == ""
    assert programs._interpreter(programs._head("/proc/self/exe"), "").startswith("/lib")


def test_what_lies_in_an_upper_layer_are_the_changes(tmp_path: Path) -> None:
    plant(tmp_path / "below", {"kept/file": "x", "same/file": "x", "mode/file": "x"})
    plant(tmp_path / "above", {"kept/new": "y", "same/other": "y", "fresh/file": "z", "mode": None, "dev/null": ""})
    for name in ("kept", "same"):
        (tmp_path / "above" / name).chmod((tmp_path / "below" / name).stat().st_mode & 0o7777)
    (tmp_path / "above/mode").chmod(0o700)
    layer = overlay.Overlay(str(tmp_path / "above"), str(tmp_path / "below"))
    assert layer.changes() == ("/dev", "/dev/null", "/fresh", "/fresh/file", "/kept/new", "/mode", "/same/other")
    layer.settle()
    (tmp_path / "above/kept/later").touch()
    assert layer.changes() == ("/kept/later",)


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [
        ("clone", "0\n", "kernel.unprivileged_userns_clone=1"),
        ("max", "0\n", "user.max_user_namespaces=15000"),
        ("apparmor", "1\n", "kernel.apparmor_restrict_unprivileged_userns=0"),
    ],
)
def test_the_switch_that_forbids_user_namespaces_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, setting: str
) -> None:
    on = {"clone": "1\n", "max": "15000\n", "apparmor": "0\n"}
    for each, text in {**on, name: value}.items():
        (tmp_path / each).write_text(text)
    switches = zip(("clone", "max", "apparmor"), userns._SWITCHES, strict=True)
    monkeypatch.setattr(userns, "_SWITCHES", tuple((str(tmp_path / each), *rest[1:]) for each, rest in switches))
    assert f"sysctl -w {setting}" in userns.refusal()
    assert "in place" in userns.refusal()
    (tmp_path / name).write_text(on[name])
    assert "sysctl" not in userns.refusal()
    assert "seccomp" in userns.refusal()

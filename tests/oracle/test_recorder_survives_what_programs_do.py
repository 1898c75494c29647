"""What real programs do to a recorder: threads, odd execs, roots, signals, tracers and filters of their own.

Each runs under both complete recorders; the paths that it must have named are spelled out.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.oracle.recorder_harness import STOP_BASED, Done, record
from tests.support import needs_root, requires
from tracer.kernel.syscalls import NEWER
from tracer.recorder import server
from tracer.recorder.protocol import Choice, ServiceOptions

both = pytest.mark.parametrize("choice", STOP_BASED, ids=lambda choice: choice.value)
PYTHON = (sys.executable, "-I", "-S", "-c")


def _python(script: str, choice: Choice, tmp_path: Path, **more: object) -> Done:
    return record([*PYTHON, script], choice, cwd=tmp_path, output=str(tmp_path / "output"), **more)  # type: ignore[arg-type]


@both
def test_threads_and_forked_children_are_recorded(choice: Choice, tmp_path: Path) -> None:
    done = _python(
        "import os, threading\n"
        "def look(i): [os.path.exists(f'/t{i}/{k}') for k in range(50)]\n"
        "ts = [threading.Thread(target=look, args=(i,)) for i in range(8)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]\n"
        "for i in range(20):\n"
        "    if os.fork() == 0: os.path.exists(f'/f{i}'); os._exit(0)\n"
        "    os.wait()\n",
        choice,
        tmp_path,
    )
    assert done.code == 0
    assert {f"/t{i}/{k}" for i in range(8) for k in range(50)} <= done.paths
    assert {f"/f{i}" for i in range(20)} <= done.paths


@both
def test_the_working_directory_is_that_of_the_moment(choice: Choice, tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    done = _python(
        "import os\n"
        "os.path.exists('one'); os.chdir('a'); os.path.exists('two')\n"
        "fd = os.open('b', os.O_RDONLY); os.fchdir(fd); os.path.exists('three'); os.path.exists('../four')\n"
        "os.path.exists('../../../five'); os.stat('.', dir_fd=fd); os.access('six', 0, dir_fd=fd)\n"
        "os.rename('../../a', '../../z'); os.path.exists('seven')\n"
        "os.chdir('/'); os.path.exists('eight')\n"
        "if os.fork() == 0: os.chdir('/usr'); os.path.exists('nine'); os._exit(0)\n"
        "os.wait(); os.path.exists('ten')\n",
        choice,
        tmp_path,
    )
    assert done.code == 0
    top = str(tmp_path)
    wanted = {
        *(f"{top}/one", f"{top}/a", f"{top}/a/two", f"{top}/a/b/three", f"{top}/a/four"),
        *(f"{tmp_path.parent}/five", f"{top}/a/b", f"{top}/a/b/six", f"{top}/z", f"{top}/z/b/seven"),
        *("/", "/eight", "/usr", "/usr/nine", "/ten"),
    }
    assert wanted - done.paths == set()
    assert not {path for path in done.paths if path.endswith(("/nine", "/ten"))} - {"/usr/nine", "/ten"}
    assert done.kinds(f"{top}/z") == {"write"}
    assert done.kinds(f"{top}/a") == {"stat", "read", "write"}


@both
def test_threads_share_a_directory_that_one_of_them_changes(choice: Choice, tmp_path: Path) -> None:
    done = _python(
        "import os, threading\n"
        "def go(d, n): os.chdir(d); os.path.exists(n)\n"
        "for i, d in enumerate(['/usr', '/etc', '/var'] * 5):\n"
        "    t = threading.Thread(target=go, args=(d, f'in{i}')); t.start(); t.join(); os.path.exists(f'out{i}')\n",
        choice,
        tmp_path,
    )
    assert done.code == 0
    for i, directory in enumerate(["/usr", "/etc", "/var"] * 5):
        assert {f"{directory}/in{i}", f"{directory}/out{i}"} <= done.paths


@needs_root
@both
def test_paths_below_a_chroot_are_those_of_the_recorded_root(choice: Choice, tmp_path: Path) -> None:
    (tmp_path / "jail/etc").mkdir(parents=True)
    done = _python(
        "import os\n"
        "os.path.exists('/before'); os.chroot('jail'); os.path.exists('/etc/inside'); os.path.exists('still-outside')\n"
        "os.chdir('/etc'); os.path.exists('relative'); os.path.exists('../../../../top'); os.path.exists('/../up')\n"
        "if os.fork() == 0: os.path.exists('/child'); os._exit(0)\n"
        "os.wait()\n",
        choice,
        tmp_path,
    )
    jail = f"{tmp_path}/jail"
    wanted = {"/before", f"{jail}/etc/inside", f"{tmp_path}/still-outside", f"{jail}/etc/relative", f"{jail}/top"}
    assert wanted | {f"{jail}/up", f"{jail}/child"} <= done.paths


@both
def test_a_deleted_working_directory_leads_nowhere_and_nothing_hangs(choice: Choice, tmp_path: Path) -> None:
    done = _python(
        "import os\n"
        "os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone'); os.path.exists('x'); os.path.exists('../y')\n"
        "os.path.exists('/end')\n"
        "os.mkdir('/tmp/recorder (deleted)') if not os.path.exists('/tmp/recorder (deleted)') else 0\n"
        "os.chdir('/tmp/recorder (deleted)'); os.path.exists('z')\n",
        choice,
        tmp_path,
    )
    assert done.code == 0
    assert "/end" in done.paths
    assert "/tmp/recorder (deleted)/z" in done.paths
    assert not {path for path in done.paths if path.endswith(("/x", "/y"))}


@both
def test_paths_of_any_length_and_any_bytes(choice: Choice, tmp_path: Path) -> None:
    done = _python(
        "import os\n"
        "for n in (255, 256, 257, 300, 4000, 4095, 4096, 5000):\n"
        "    try: os.stat(b'/' + (b'x' * 99 + b'/') * (n // 100) + b'y' * (n - 1 - n // 100 * 100))\n"
        "    except OSError: pass\n"
        "os.path.exists(b'/bad\\xff\\xfe utf\\n8'); os.path.exists('')\n",
        choice,
        tmp_path,
    )
    lengths = {len(path) for path in done.paths if path.startswith("/xxx")} | {
        len(path) for path in done.paths if path.startswith("/yyy")
    }
    assert {255, 256, 257, 299, 300, 4000, 4095} & lengths >= {255, 256, 257, 4095}
    assert not lengths & {4096, 5000}
    assert "/bad\udcff\udcfe utf\n8" in done.paths


@both
def test_strings_at_the_end_of_a_mapping_and_bad_pointers(choice: Choice, tmp_path: Path) -> None:
    done = _python(
        "import ctypes, mmap\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.mmap.restype = ctypes.c_void_p; P = mmap.PAGESIZE\n"
        "at = libc.mmap(None, ctypes.c_size_t(2 * P), 3, 0x22, -1, ctypes.c_long(0))\n"
        "libc.munmap(ctypes.c_void_p(at + P), ctypes.c_size_t(P))\n"
        "ctypes.memmove(at + P - 9, b'/at-end\\0', 8); libc.access(ctypes.c_void_p(at + P - 9), 0)\n"
        "ctypes.memmove(at + P - 4, b'/cut', 4); libc.access(ctypes.c_void_p(at + P - 4), 0)\n"
        "libc.access(None, 0); libc.access(ctypes.c_void_p(1), 0); libc.access(ctypes.c_void_p(-1), 0)\n"
        "libc.access(b'/after', 0)\n",
        choice,
        tmp_path,
    )
    assert done.code == 0
    assert {"/at-end", "/after"} <= done.paths
    assert not {path for path in done.paths if "cut" in path}


@both
def test_links_of_proc_are_recorded_for_what_they_stand_for(choice: Choice, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/inner").write_text("y")
    done = _python(
        "import os\n"
        "fd = os.open('file', os.O_RDONLY); d = os.open('dir', os.O_RDONLY | os.O_DIRECTORY)\n"
        "open(f'/proc/self/fd/{fd}').read(); open(f'/dev/fd/{fd}').read(); os.stat(f'/proc/self/fd/{d}/inner')\n"
        "os.readlink('/proc/self/exe'); os.stat(f'/proc/{os.getpid()}/cwd/file'); os.listdir('/proc/self/task')\n"
        "open(f'/proc/self/task/{os.getpid()}/comm').read()\n",
        choice,
        tmp_path,
    )
    assert done.code == 0
    assert done.kinds(f"{tmp_path}/dir/inner") == {"stat"}
    assert {"/proc/self/fd", "/dev/fd", "/proc/self/exe", "/proc/self/task", "/proc/self/cwd/file"} <= done.paths
    below = {path for path in done.paths if path.startswith("/proc/")}
    assert not {path for path in below if any(part.isdigit() for part in path.split("/"))}


@both
def test_an_execution_says_where_it_ran_and_with_which_search_paths(choice: Choice, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "script").chmod(0o755)
    done = record(
        ["/bin/sh", "-c", "cd /usr; LD_LIBRARY_PATH=/x PYTHONPATH=/y SECRET=z env true; script; nothing-like-this"],
        choice,
        cwd=tmp_path,
        env={"PATH": f"/no/bin:{tmp_path}:/usr/bin:/bin", "TOKEN": "secret"},
    )
    by_path = {each.path: each for each in done.recording.executions}
    assert done.code == 127
    assert by_path["/bin/sh"].workdir == str(tmp_path)
    assert by_path["/usr/bin/true"].environment == (
        ("LD_LIBRARY_PATH", "/x"),
        ("PATH", f"/no/bin:{tmp_path}:/usr/bin:/bin"),
        ("PYTHONPATH", "/y"),
    )
    assert by_path["/usr/bin/true"].workdir == "/usr"
    assert f"{tmp_path}/script" in by_path
    assert "/no/bin/true" not in by_path
    assert "/no/bin/true" in done.paths
    assert done.by("/usr/bin/true") == {os.path.realpath("/usr/bin/env")}


@requires("gcc")
@both
def test_exec_from_a_thread_that_is_not_the_first(choice: Choice, tmp_path: Path) -> None:
    _compile(
        tmp_path / "go",
        "#include <pthread.h>\n#include <unistd.h>\n"
        "static void *f(void *p) {\n"
        ' access("/thread", 0); execl("/bin/ls", "ls", "/exec-from-thread", (char *)0); return 0; }\n'
        "int main(void) { pthread_t t;\n"
        ' access("/main", 0); pthread_create(&t, 0, f, 0); pthread_join(t, 0); return 1; }\n',
        "-pthread",
    )
    done = record([str(tmp_path / "go")], choice, cwd=tmp_path)
    assert done.code == 2
    assert {"/main", "/thread"} <= done.paths
    assert done.by("/exec-from-thread") == {os.path.realpath("/bin/ls")}
    assert done.by("/main") == {str(tmp_path / "go")}


@requires("gcc")
@both
def test_vfork_clone_and_their_failed_execs(choice: Choice, tmp_path: Path) -> None:
    _compile(
        tmp_path / "go",
        "#define _GNU_SOURCE\n#include <unistd.h>\n#include <sched.h>\n#include <signal.h>\n#include <sys/wait.h>\n"
        "#include <spawn.h>\n#include <sys/syscall.h>\nextern char **environ; static char stack[65536];\n"
        'static int f(void *p) { access("/cloned", 0); return 0; }\n'
        'int main(void) { int s; pid_t p; char *a[] = {"true", 0};\n'
        ' if (vfork() == 0) { execl("/no/such", "x", (char *)0);\n'
        ' execl("/bin/true", "true", (char *)0); _exit(1); }\n'
        " wait(&s);\n"
        ' if (vfork() == 0) { access("/in-vfork", 0); _exit(0); } wait(&s); access("/after-vfork", 0);\n'
        ' posix_spawn(&p, "/bin/true", 0, 0, a, environ); waitpid(p, &s, 0); access("/after-spawn", 0);\n'
        " p = clone(f, stack + 65536, CLONE_FS | CLONE_VM | SIGCHLD, 0); waitpid(p, &s, 0);\n"
        ' syscall(SYS_openat2, -100, "/by-openat2", (unsigned long[3]){0, 0, 0}, 24); return 0; }\n',
    )
    done = record([str(tmp_path / "go")], choice, cwd=tmp_path)
    assert done.code == 0
    for path in ("/in-vfork", "/after-vfork", "/after-spawn", "/cloned", "/by-openat2", "/no/such"):
        assert done.by(path) == {str(tmp_path / "go")}, path
    assert "/bin/true" in {each.path for each in done.recording.executions}


@requires("gcc")
@both
def test_i386_calls_of_a_64_bit_program(choice: Choice, tmp_path: Path) -> None:
    _compile(
        tmp_path / "go",
        "static long c(long n, long a, long b, long d) { long r;\n"
        ' __asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(b), "d"(d) : "memory", "r8", "r11");\n'
        " return r; }\n"
        'static char one[] = "/i386-open", two[] = "/i386-access";\n'
        'static char three[] = "i386-openat", four[] = "/i386-stat64";\n'
        "static char buffer[256];\n"
        "int main(void) { c(5, (long)one, 0, 0); c(33, (long)two, 0, 0); c(295, -100, (long)three, 0);\n"
        " c(195, (long)four, (long)buffer, 0); return 0; }\n",
        "-static",
        "-no-pie",
    )
    done = record([str(tmp_path / "go")], choice, cwd=tmp_path)
    assert done.code == 0
    assert done.kinds("/i386-open") == {"read"}
    assert {"/i386-access", f"{tmp_path}/i386-openat", "/i386-stat64"} <= done.paths


@both
def test_io_uring_is_refused_and_told(choice: Choice, tmp_path: Path) -> None:
    done = _python(
        "import ctypes, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "params = ctypes.create_string_buffer(120)\n"
        "sys.exit(0 if libc.syscall(425, 8, params) == -1 and ctypes.get_errno() == 38 else 3)\n",
        choice,
        tmp_path,
    )
    assert done.code == 0
    assert done.recording.notes == (f"io_uring was refused to {os.path.realpath(sys.executable)}",)


@both
def test_signals_reach_the_program_and_a_stopped_one_stays_stopped(choice: Choice, tmp_path: Path) -> None:
    done = _python(
        "import os, signal, time\n"
        "got = []\n"
        "signal.signal(signal.SIGUSR1, lambda *a: got.append(1))\n"
        "signal.signal(signal.SIGALRM, lambda *a: got.append(2))\n"
        "os.kill(os.getpid(), signal.SIGUSR1); signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)\n"
        "end = time.time() + 0.3\n"
        "while time.time() < end: os.path.exists('/loop')\n"
        "signal.setitimer(signal.ITIMER_REAL, 0); assert got[0] == 1 and len(got) > 10, got\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    while True: os.path.exists('/child'); time.sleep(0.001)\n"
        "time.sleep(0.05); os.kill(child, signal.SIGSTOP)\n"
        "assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])\n"
        "time.sleep(0.05); assert os.waitpid(child, os.WNOHANG) == (0, 0)\n"
        "assert open(f'/proc/{child}/stat').read().split()[2] in 'Tt'\n"
        "os.kill(child, signal.SIGCONT); assert os.WIFCONTINUED(os.waitpid(child, os.WCONTINUED)[1])\n"
        "time.sleep(0.05); os.kill(child, signal.SIGTERM)\n"
        "assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGTERM\n",
        choice,
        tmp_path,
    )
    assert done.code == 0, (tmp_path / "output").read_text()
    assert {"/loop", "/child"} <= done.paths


@both
def test_daemons_that_outlive_the_command_are_recorded(choice: Choice, tmp_path: Path) -> None:
    done = _python(
        "import os, time\n"
        "r, w = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.path.exists('/daemon'); os.write(w, b'x'); os._exit(0)\n"
        "    os._exit(0)\n"
        "os.wait(); os.read(r, 1)\n",
        choice,
        tmp_path,
    )
    assert "/daemon" in done.paths


@both
def test_thousands_of_short_processes(choice: Choice, tmp_path: Path) -> None:
    done = record(
        [
            "/bin/sh",
            "-c",
            "i=0; while [ $i -lt 1000 ]; do (: < /dev/null; cd /usr; test -e p$i) & i=$((i+1)); done; wait",
        ],
        choice,
        cwd=tmp_path,
    )
    assert done.code == 0
    assert {f"/usr/p{i}" for i in range(1000)} <= done.paths


@requires("strace")
def test_strace_works_inside_a_recording_by_notify(tmp_path: Path) -> None:
    done = record(["/usr/bin/strace", "-f", "-o", str(tmp_path / "o"), "/bin/cat", "/etc/hostname"], Choice.NOTIFY)
    assert done.code == 0
    assert done.by("/etc/hostname") == {os.path.realpath("/bin/cat")}


@requires("strace")
def test_a_tracer_inside_a_recording_by_ptrace_fails_with_a_note(tmp_path: Path) -> None:
    done = record(["/usr/bin/strace", "-f", "-o", str(tmp_path / "o"), "/bin/true"], Choice.PTRACE)
    assert done.code != 0
    assert any("/usr/bin/strace asked to trace" in note for note in done.recording.notes)


@both
def test_a_program_with_a_filter_and_a_listener_of_its_own(choice: Choice, tmp_path: Path) -> None:
    done = _python(
        "import ctypes, os, sys\n"
        f"sys.path.insert(0, {os.getcwd()!r})\n"
        "from tracer.kernel import seccomp\n"
        "code = seccomp.filter_for(seccomp.RET_ALLOW, ())\n"
        "seccomp.install(code, listener=False); os.path.exists('/filtered')\n"
        "try: seccomp.install(code, listener=True); print('given')\n"
        "except seccomp.Refused as error: print('refused', error.errno)\n"
        "os.path.exists('/end')\n",
        choice,
        tmp_path,
    )
    assert done.code == 0
    assert {"/filtered", "/end"} <= done.paths
    output = (tmp_path / "output").read_text()
    if choice is Choice.NOTIFY:
        assert output == "refused 16\n"
        assert any("asked for a seccomp listener" in note for note in done.recording.notes)
    else:
        assert output == "given\n"


@requires("bwrap")
@both
def test_bubblewrap_is_recorded(choice: Choice, tmp_path: Path) -> None:
    done = record(
        shlex.split(
            "/usr/bin/bwrap --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --unshare-pid cat /etc/hostname"
        ),
        choice,
        output=str(tmp_path / "output"),
    )
    assert done.code == 0, (tmp_path / "output").read_text()
    assert "/etc/hostname" in done.paths


@needs_root
@both
def test_a_process_that_drops_its_user_is_still_read(choice: Choice, tmp_path: Path) -> None:
    done = _python(
        "import os\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534); os.path.exists('/as-nobody')\n"
        "if os.fork() == 0: os.path.exists('/child-of-nobody'); os._exit(0)\n"
        "os.wait(); os.execv('/bin/ls', ['ls', '/exec-by-nobody'])\n",
        choice,
        tmp_path,
    )
    assert {"/as-nobody", "/child-of-nobody", "/exec-by-nobody"} <= done.paths
    assert done.recording.notes == ()


def test_changes_are_told_before_they_happen(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    for name in ("written", "truncated", "removed", "renamed", "read", "chmodded", "target", "dir/removed", "fd"):
        place = tmp_path / "real" / name
        place.parent.mkdir(exist_ok=True)
        place.write_text(place.name)
    (tmp_path / "real/to-target").symlink_to("target")
    log = tmp_path / "log"

    def note(path: str) -> None:
        content = ""
        if os.path.isfile(path) and not os.path.islink(path):
            content = Path(path).read_text()
        with log.open("a") as stream:
            stream.write(f"{path} {content}\n")

    script = """
import os
os.chdir('link'); open('written', 'r+').write('new'); open('truncated', 'w').close(); os.unlink('removed')
os.rename('renamed', 'to'); open('read').read(); os.chmod('chmodded', 0o600); open('to-target', 'w').close()
os.unlink('dir/removed'); open('created', 'w').close(); os.mkdir('made'); os.symlink('x', 'symlink')
fd = os.open('fd', os.O_RDONLY); os.fchmod(fd, 0o640)
"""
    options = ServiceOptions(choice=Choice.NOTIFY, before_change=note)
    done = record([*PYTHON, script], cwd=tmp_path, options=options)
    assert done.code == 0
    real = f"{tmp_path}/real"
    told = [line for line in log.read_text().splitlines() if line.startswith(real)]
    assert told == [
        f"{real}/written written",
        f"{real}/truncated truncated",
        f"{real}/removed removed",
        f"{real}/renamed renamed",
        f"{real}/to ",
        f"{real}/chmodded chmodded",
        f"{real}/to-target ",
        f"{real}/target target",
        f"{real}/dir/removed removed",
        f"{real}/created ",
        f"{real}/made ",
        f"{real}/symlink ",
        f"{real}/fd fd",
    ]


@both
def test_the_service_dies_with_its_caller_and_the_traced_tree_does_not_hang(choice: Choice, tmp_path: Path) -> None:
    script = (
        "import os, sys, time\n"
        f"sys.path.insert(0, {os.getcwd()!r})\n"
        "from tracer.recorder import service\nfrom tracer.recorder.protocol import Choice, ServiceOptions\n"
        f"running = service.start(ServiceOptions(choice=Choice({choice.value!r})))\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    running.channel.arm()\n"
        "    os.execv('/bin/sh', ['sh', '-c', 'while :; do test -e /x || sleep 0.01; done'])\n"
        "print(running.pid, pid, flush=True); time.sleep(60)\n"
    )
    caller = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert caller.stdout is not None
    recorder, traced = map(int, caller.stdout.readline().split())
    time.sleep(0.1)
    caller.kill()
    caller.wait()
    caller.stdout.close()
    try:
        assert _gone(recorder)
        if choice is Choice.PTRACE:  # notify leaves that to whoever runs commands: see tracer.recorder.protocol
            assert _gone(traced)
    finally:
        if os.path.exists(f"/proc/{traced}"):
            os.kill(traced, signal.SIGKILL)


def _gone(pid: int) -> bool:
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat") as stream:
                if stream.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def _compile(output: Path, source: str, *options: str) -> None:
    subprocess.run(["gcc", "-w", "-x", "c", "-", "-o", str(output), *options], input=source, text=True, check=True)


@requires("bwrap")
@both
def test_a_bound_directory_is_recorded_where_it_lies(choice: Choice, tmp_path: Path) -> None:
    (tmp_path / "data/sub").mkdir(parents=True)
    (tmp_path / "data/file").write_text("x")
    (tmp_path / "data/tool").write_text("#!/bin/sh\n")
    (tmp_path / "data/tool").chmod(0o755)
    script = "cat /app/file; /app/tool; cd /app/sub; test -e relative; test -e /private/x; test -e /etc/hostname"
    command = f"/usr/bin/bwrap --ro-bind / / --tmpfs /opt --bind {tmp_path}/data /opt/app --chdir /opt /bin/sh -c"
    script = script.replace("/app", "/opt/app").replace("/private", "/opt/private")
    done = record([*shlex.split(command), script], choice, output=str(tmp_path / "output"))
    assert done.code == 0, (tmp_path / "output").read_text()
    assert {f"{tmp_path}/data/file", f"{tmp_path}/data/sub/relative", "/etc/hostname"} <= done.paths
    assert not {path for path in done.paths if path.startswith(("/opt/app", "/opt/private"))}
    assert f"{tmp_path}/data/tool" in {each.path for each in done.recording.executions}


@both
def test_calls_that_are_not_known_yet_are_allowed_and_counted(choice: Choice, tmp_path: Path) -> None:
    done = _python(
        "import ctypes\n"
        "call = ctypes.CDLL(None, use_errno=True).syscall\n"
        f"answers = [(call({NEWER.stop - 1}), ctypes.get_errno()) for _ in range(3)]\n"
        "assert answers == [(-1, 38)] * 3, answers\n"  # ENOSYS, from the kernel itself
        "assert call(-1) == -1\n",
        choice,
        tmp_path,
    )
    assert done.code == 0
    (note,) = [note for note in done.recording.notes if "system call" in note]
    assert f"made system call {NEWER.stop - 1} (3 times)" in note
    assert os.path.realpath(sys.executable) in note


@both
def test_a_program_that_forks_without_end_cannot_take_the_recorder_down(choice: Choice, tmp_path: Path) -> None:
    """A fork bomb against a limit of processes: each child looks at a path and forks again."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become a user of its own whose processes are counted")
    theirs = Path(tempfile.mkdtemp(prefix="slimmer-test-", dir="/tmp"))  # which others may enter
    theirs.chmod(0o777)
    over = theirs / "over"
    script = (
        "import os, resource, time\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (200, 200))\n"
        "os.setgid(65123); os.setuid(65123)\n"
        "end = time.monotonic() + 20\n"
        f"while time.monotonic() < end and not os.path.exists({str(over)!r}):\n"
        "    try:\n"
        "        pid = os.fork()\n"
        "    except BlockingIOError:\n"
        f"        open({str(over)!r}, 'w').close()\n"
        "        continue\n"
        "    if pid == 0: os.path.exists(f'/bomb/{os.getpid() % 7}')\n"
        "while True:\n"  # each for its own: all of them have looked when the first is done
        "    try:\n"
        "        os.wait()\n"
        "    except ChildProcessError:\n"
        "        break\n"
    )
    try:
        done = _python(script, choice, tmp_path)
        assert over.exists()
    finally:
        shutil.rmtree(theirs)
    assert {f"/bomb/{i}" for i in range(7)} <= done.paths
    assert done.kinds(str(over)) >= {"write", "stat"}
    after = _python("import os; os.path.exists('/after')", choice, tmp_path)
    assert (after.code, "/after" in after.paths) == (0, True)


@both
def test_forgetting_never_comes_between_the_steps_of_a_stop(
    choice: Choice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered is dropped a few times a second: here thousands of times, so that every step meets it."""
    monkeypatch.setattr(server, "_TICK", 0.0003)
    script = "i=0; while [ $i -lt 3000 ]; do /bin/true; /bin/false; i=$((i+1)); done; [ -e /last ]; exit 7"
    done = record(["/bin/sh", "-c", script], choice, cwd=tmp_path)
    assert done.code == 7
    assert {"/bin/true", "/bin/false", "/last"} <= done.paths

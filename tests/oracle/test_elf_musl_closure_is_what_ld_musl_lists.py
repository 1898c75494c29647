"""Our musl rules against the real ld-musl of three architectures."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support import requires, root_of
from tests.support_elf import ARCHES, trace
from tests.support_elf_random import musl_difference, musl_job_of, plant_case, resolve

MUSL = {"amd64": "x86_64", "arm64": "aarch64", "s390x": "s390x"}


@requires("unshare", "mount")
@pytest.mark.slow
@pytest.mark.parametrize("name", MUSL)
def test_random_roots_agree_with_ld_musl(name: str, tmp_path: Path) -> None:
    arch = ARCHES[name]
    if arch.qemu and not arch.runner[0]:
        pytest.skip(f"not installed: qemu-{arch.qemu}-static")
    root = root_of("musl", architecture=name, variant="extract")
    loader = next(
        iter(sorted(root.glob("usr/lib/*-linux-musl*/libc.so")) + sorted(root.glob("lib/*-linux-musl*/libc.so")))
    )
    cases = [
        plant_case(tmp_path / str(seed), random.Random(seed), loader, arch, fatal=True, musl=MUSL[name])
        for seed in range(30)
    ]
    for seed, (case, real) in enumerate(zip(cases, trace([musl_job_of(case) for case in cases]), strict=True)):
        differs = musl_difference(resolve(case, None, case.program), real)
        assert not differs, f"seed {seed}: {differs}"

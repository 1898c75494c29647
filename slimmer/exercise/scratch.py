"""What runs create in scratch directories is called otherwise each time; a recording names it alike."""

from __future__ import annotations

from dataclasses import replace

from slimmer.root.model import Root, sort_key
from tracer.recording import Access, Kind, Recording

SCRATCH = ("/tmp", "/var/tmp", "/dev/shm", "/run/user")
ANY = "*"  # in place of a name


def without_random_names(recording: Recording, root: Root) -> Recording:
    """The same with "/tmp/*" for what a run made below a scratch directory, and for what it looked for in there.

    A name that is only looked for ("/tmp/.s.PGSQL.5432") is the program's own, and stays.
    """
    made = {access.path for access in recording.accesses if Kind.WRITE in access.kinds}
    merged: dict[str, Access] = {}
    for access in recording.accesses:
        path = _known(access.path, made, root)
        known = merged.get(path)
        kinds, by = (access.kinds, access.by) if known is None else (known.kinds | access.kinds, known.by | access.by)
        merged[path] = Access(path, kinds, by)
    return replace(recording, accesses=tuple(sorted(merged.values(), key=lambda each: sort_key(each.path))))


def _known(path: str, made: set[str], root: Root) -> str:
    """A path as far as the fat root has it, then the mark, where what follows was made by the run."""
    top = next((place for place in SCRATCH if path.startswith(f"{place}/")), "")
    if not top:
        return path
    here = top
    for part in path[len(top) + 1 :].split("/"):
        step = f"{here}/{part}"
        if root.find(step) is None:
            return f"{here}/{ANY}" if step in made else path
        here = step
    return path

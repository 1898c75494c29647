"""Run-time policy from what an output already knows: which system calls, paths and capabilities its image needs.

    image ── objects ──► calls that kept files can make ──┐
    recording ──► what was written, who listened ─────────┼──► seccomp.json, apparmor.profile, security-context.yaml
    manifest ──► what may be read, run, gained ───────────┘

Imported by `slimmer.cli`; reads outputs, imports nothing of the pipeline.
"""

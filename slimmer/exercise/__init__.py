"""Makes an application do its work: start, readiness, probes, commands, stop; the same for fat and slim.

Starts processes only through `tracer.session`. Imports `recipe`, `root` and `errors`.
"""

"""`python -m slimmer`: the same as `slim`."""

from __future__ import annotations

from slimmer.cli.main import main

if __name__ == "__main__":
    main()

"""Program text inside other programs' arguments, by language."""

from __future__ import annotations

from collections.abc import Mapping

from slimmer.closure.started import Embedded

EMBEDDED: Mapping[str, Embedded] = {}

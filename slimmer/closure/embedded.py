"""Program text inside other programs' arguments: `python3 -c`, `perl -e`, `ruby -e`, here-documents.

Languages enter their reader when `languages` is imported: their rules use
`started`, which uses this table.
"""

from __future__ import annotations

from slimmer.closure.started import Embedded

EMBEDDED: dict[str, Embedded] = {}

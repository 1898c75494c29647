"""Which licence texts of packages are SPDX expressions, and which are a distribution's own words."""

from __future__ import annotations

from license_expression import ExpressionError, LicenseExpression, get_spdx_licensing  # type: ignore[import-untyped]


def expression(text: str) -> LicenseExpression | None:
    """The expression when each name in it is an SPDX identifier, exactly: "GPL" says too little to be one."""
    if not text:
        return None
    try:
        found = get_spdx_licensing().parse(text, validate=True, strict=True)
    except (ExpressionError, ValueError):
        return None
    return found if found is not None and _plain(found.render()) == _plain(text) else None


def _plain(text: str) -> str:
    return "".join(text.replace("(", " ").replace(")", " ").split()).lower()

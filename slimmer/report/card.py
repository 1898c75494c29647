"""The image at a glance, for the page: who it runs as, what it starts, where it listens and writes, what it holds."""

from __future__ import annotations

from collections import Counter
from html import escape

from slimmer.image.config import ImageConfig
from slimmer.report.model import Mark, PackageState, Report, Risk
from slimmer.report.support import support_words
from slimmer.report.words import is_root, shown, some
from slimmer.values import masked

NAMES = 12  # shown of each kind


def image_card(report: Report, config: ImageConfig) -> str:
    """A list of terms in HTML. Of environment variables only names: values are nobody's business."""
    user = report.subject.user
    who = f'<span class="badge warn">root</span> {escape(shown(user)) or "no user is set"}; --user names another'
    writable = [*config.volumes, *(each.path for each in report.risky if _writable(each.marks))]
    rows = [
        ("user", who if is_root(user) else escape(shown(user))),
        ("entrypoint", _code(" ".join(config.entrypoint or ()))),
        ("command", _code(" ".join(config.cmd or ()))),
        ("working directory", _code(config.workdir)),
        ("ports", escape(shown(", ".join(config.exposed_ports)))),
        ("environment", escape(shown(some([name for name, _ in config.env], NAMES)))),
        ("volumes, writable", escape(shown(some(list(dict.fromkeys(writable)), NAMES)))),
        ("licences", escape(shown(some(_licences(report), NAMES)))),
        ("system", escape(shown(support_words(report.subject)))),
    ]
    terms = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in rows if text)
    return f'<h2>Image</h2><dl class="terms card">{terms}</dl>'


def _code(text: str) -> str:
    return f"<code>{escape(shown(masked(text)))}</code>" if text else ""


def _writable(marks: tuple[Mark, ...]) -> bool:
    return any(mark.risk in (Risk.USER_WRITABLE, Risk.WORLD_WRITABLE) for mark in marks)


def _licences(report: Report) -> list[str]:
    """Licences of the packages that stay, the most frequent first, with how many packages have each."""
    counts = Counter(
        each.package.license.splitlines()[0][:60]
        for each in report.packages
        if each.state is not PackageState.REMOVED and each.package.license.strip()
    )
    return [f"{name} ({count})" for name, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))]

"""The pages of an HTTP server that nobody named: links of its first page, a documented API, what tells its health."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import islice

from slimmer.errors import UsageProblem
from slimmer.exercise import discover
from slimmer.exercise.model import Answer
from slimmer.exercise.running import Running
from slimmer.recipe import Probe

PAGES = 30  # of a crawl
DEPTH = 2
OPERATIONS = 40  # of an OpenAPI document
BUDGET = 45.0  # seconds for all of one port
ANSWER = 10.0  # seconds for one answer: what streams for ever has none

# Where frameworks put their OpenAPI documents: FastAPI, Springdoc, Swashbuckle, Connexion, DRF, Nest, Swagger UI.
DOCUMENTS = (
    *("/openapi.json", "/openapi.yaml", "/openapi.yml", "/swagger.json", "/swagger.yaml", "/swagger/v1/swagger.json"),
    *("/v3/api-docs", "/v2/api-docs", "/api-docs", "/api/openapi.json", "/api/swagger.json", "/api/v1/openapi.json"),
    *("/api/schema/", "/api-json", "/docs/openapi.json", "/openapi/v1.json"),
)
HEALTH = (
    *("/health", "/healthz", "/livez", "/readyz", "/ready", "/live", "/ping", "/status", "/version", "/metrics"),
    *("/actuator/health", "/api/health", "/-/healthy", "/up", "/favicon.ico", "/robots.txt"),
)
NOWHERE = "/no-such-page-of-this-application"
BROWSER = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Encoding": "gzip, deflate, br",
    "Accept-Language": "en",
}


def visit(app: Running, start: str) -> list[tuple[Probe, Answer]]:
    """All that was asked below `start` and answered twice with the same status, as probes that expect it."""
    origin = start.rstrip("/")
    visitor = _Visitor(app)
    first = visitor.crawl(start)
    # Twice, since a page may hold links that work once, or for one visitor: no later run could repeat them.
    second = visitor.crawl(start)
    kept = [probe for url, probe in first.items() if url in second and second[url].status == probe.status]
    nowhere = visitor.ask(Probe(origin + NOWHERE))
    others = [*(origin + path for path in HEALTH), *visitor.documented(origin)]
    known = {probe.url for probe in kept}
    for url in dict.fromkeys(others):
        answer = visitor.ask(Probe(url)) if url not in known else None
        if answer is not None and answer.status and _tells(answer, nowhere):
            kept.append(Probe(url, answer.status))
    if nowhere.status:
        kept.append(Probe(origin + NOWHERE, nowhere.status))
    kept.append(Probe(start, first[start].status if start in first else None, headers=BROWSER))
    return list(visitor.repeated(kept))


class _Visitor:
    """Asks while there is time."""

    def __init__(self, app: Running) -> None:
        self._app = app
        self._until = time.monotonic() + BUDGET

    def ask(self, probe: Probe) -> Answer:
        if self._app.asked() or self._app.over() or time.monotonic() > self._until:
            return Answer(f"{probe.method} {probe.url}", None, b"", "", "no time")
        return self._app.ask(probe, min(ANSWER, max(1.0, self._until - time.monotonic())))

    def crawl(self, start: str) -> dict[str, Probe]:
        """Each page that answered, by its URL, with its status."""
        found: dict[str, Probe] = {}

        def ask(probe: Probe) -> Answer:
            answer = self.ask(probe)
            if answer.status is not None:
                found[probe.url] = Probe(probe.url, answer.status)
            return answer

        _exhaust(discover.crawl(start, ask, pages=PAGES, depth=DEPTH))
        return found

    def documented(self, origin: str) -> list[str]:
        """The documents of an API, and the GETs that they tell of."""
        for path in DOCUMENTS:
            url = origin + path
            answer = self.ask(Probe(url))
            if answer.status != 200 or not discover.is_openapi(answer.body):
                continue
            asked: list[str] = []

            def ask(probe: Probe, document: Answer = answer, at: str = url, asked: list[str] = asked) -> Answer:
                asked.append(probe.url)
                return document if probe.url == at else Answer("", None, b"")

            try:
                _exhaust(islice(discover.openapi(url, ask, origin), OPERATIONS))
            except UsageProblem:
                continue  # it looks like one, and is not well-formed
            return asked
        return []

    def repeated(self, probes: Iterable[Probe]) -> Iterator[tuple[Probe, Answer]]:
        """Those that are answered once more as they were; errors of the server only for the first page."""
        for at, probe in enumerate(probes):
            if at and (probe.status or 0) >= 500:
                continue
            answer = self.ask(probe)
            if answer.status is not None and not answer.problem:
                yield probe, answer


def _tells(answer: Answer, nowhere: Answer) -> bool:
    """Whether a page is one of its own, and not what the server says to whatever it does not know."""
    if (answer.status or 0) >= 500 or answer.status == 404:
        return False
    return answer.status != nowhere.status or (answer.status == 200 and answer.body != nowhere.body)


def _exhaust(answers: Iterable[Answer]) -> None:
    for _ in answers:
        pass

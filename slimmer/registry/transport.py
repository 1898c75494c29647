"""Under the registry client: when to try again, and whose certificates to trust."""

from __future__ import annotations

import os
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import certifi

from slimmer.errors import SlimmerError

# Where docker and containers keep certificates for one registry: HOST[:PORT]/*.crt, *.cert with *.key
CERTIFICATE_DIRECTORIES = ("/etc/containers/certs.d", "/etc/docker/certs.d")
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})


class Transient(SlimmerError):
    """What may go better at another try."""


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and how long to wait between: doubling, with a random part so that many do not return at once."""

    attempts: int = 5
    first: float = 0.5  # seconds
    longest: float = 30.0

    def worth(self, status: int) -> bool:
        """Whether an answer may be another one soon."""
        return status in TRANSIENT

    def pause(self, failures: int, retry_after: str = "") -> float:
        """Seconds to wait after so many failures; the server's wish counts, within bounds."""
        if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 6:
            return min(float(retry_after), 2 * self.longest)
        doubled = self.first * float(1 << min(max(0, failures - 1), 16))
        return min(self.longest, doubled) * random.uniform(0.5, 1.0)


class Pace:
    """A download that drips is none: each window of time must bring so much, or it is given up."""

    WINDOW = 120.0  # seconds
    LEAST = 16 << 10  # bytes in a window: slower than any modem

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = self._left = clock()
        self._had = 0

    def resume(self) -> None:
        """The consumer's own time does not count."""
        self._since += self._clock() - self._left

    def keep(self, received: int, what: str) -> None:
        """Called for each piece with all bytes so far. Raises SlimmerError when it is too slow."""
        now = self._left = self._clock()
        if now - self._since < self.WINDOW:
            return
        if received - self._had < self.LEAST:
            raise SlimmerError(
                f"{what} comes too slowly: {received - self._had} bytes in {now - self._since:.0f} s",
                "the registry or the way to it hangs; try again, or another mirror",
            )
        self._since, self._had = now, received


def tls_context(endpoint: str, *, verify: bool) -> ssl.SSLContext:
    """The system's authorities (certifi's where it has none), and those that docker or podman know for this host."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif not context.get_ca_certs() and not os.environ.get("SSL_CERT_FILE"):
        context.load_verify_locations(cafile=certifi.where())
    for top in CERTIFICATE_DIRECTORIES:
        directory = Path(top, endpoint)
        try:
            for place in sorted(directory.glob("*.crt")):
                context.load_verify_locations(cafile=place)
            for place in sorted(directory.glob("*.cert")):
                context.load_cert_chain(place, place.with_suffix(".key"))
        except OSError as error:  # ssl.SSLError is one
            raise SlimmerError(f"cannot use the certificates in {directory}: {error.strerror or error}") from error
    return context

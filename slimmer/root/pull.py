"""An image in a registry, as a plan to unpack: layers stream from the network into the cache, never onto disk packed.

The client is `slimmer.registry.client`, shared with pushing. It is the one thing above
this package that is used here, and only when a registry is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from slimmer.root.codec import Blob
from slimmer.root.limits import Limits
from slimmer.root.manifest import INDEX_TYPES, MANIFEST_TYPES, Descriptor, Plan, Platform, plan_from
from slimmer.root.reference import SourceReference


def registry_plan(
    reference: SourceReference,
    wanted: Platform | None,
    limits: Limits,
    stack: ExitStack,
    say: Callable[[str], None],
    *,
    insecure: bool,
) -> Plan:
    """Asks for the manifest and config; layers are asked for when they are unpacked, so those in the cache never are.

    `stack` keeps the connection. Raises SlimmerError.
    """
    from slimmer.registry.client import Registry, RegistryOptions
    from slimmer.registry.reference import Reference as Name

    name = Name.parse(reference.text)
    say(f"asking {name.host} for {name.repository}")
    client = stack.enter_context(Registry(name, RegistryOptions(insecure=insecure)))
    where = str(name)
    top = client.manifest(name.name)

    def fetch(wanted: Descriptor, what: str) -> Blob:
        if wanted.media_type in (*MANIFEST_TYPES, *INDEX_TYPES):
            found = top.data if wanted.digest == top.digest else client.manifest(wanted.digest).data
            return Blob(f"{where}: {what}", lambda: iter((found,)), wanted.digest, wanted.size)
        # The client verifies digest and size itself, for it takes up again where a connection broke.
        return Blob(f"{where}: {what}", partial(client.blob, wanted.digest, wanted.size))

    return plan_from([Descriptor(top.media_type, top.digest, len(top.data))], wanted, fetch, where, limits)

"""One file a verb: options, call, print. The only place that prints or exits; nothing imports it."""

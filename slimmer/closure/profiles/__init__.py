"""Profiles: rules for known applications as TOML, how they are read, and the rule that applies them."""

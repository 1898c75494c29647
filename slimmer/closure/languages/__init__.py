"""What programs in each language load: one folder a language, and beside them what the languages share.

Each folder has a `rule` that the registry of rules lists.
"""

"""What is known of content is known for good: results of pure readers, kept by the digest of what they read.

Everything above may ask `remembered` and `remembered_bytes`; without a store in use they only compute.
"""

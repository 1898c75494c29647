"""Perl: use, require and what hides in strings, along @INC."""

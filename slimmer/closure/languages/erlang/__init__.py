"""Erlang: applications with their ebin and priv directories, and started programs of sources and modules."""

"""Starts commands: in a sandbox on an overlay, in a chroot, or in place, with an init or a supervisor of its own."""

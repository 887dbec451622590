"""Seccomp profiles in Docker's format, and the recording filters made from them."""

"""Injections into one prompt, for trying things out: the Python API.

Users import `Injector` and `injecting` from `memory_injections` itself.
"""

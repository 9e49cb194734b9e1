"""Injections into one prompt, for trying things out: the Python API, and the command line `memory-injections`.

No other room imports from here; users import `Injector` and `injecting` from `memory_injections` itself.
"""

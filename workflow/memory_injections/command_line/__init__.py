"""The command line `memory-injections`: injections into one prompt, for trying things out."""

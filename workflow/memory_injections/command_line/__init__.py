"""The command line `memory-injections`: injections into one prompt, and what surrounds a whole study."""

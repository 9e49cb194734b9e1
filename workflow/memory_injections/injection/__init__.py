"""Injecting memories: vectors, two engines for injected forward passes, their check, and cells computed in batches."""

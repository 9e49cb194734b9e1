"""Sweeps: their identity and grids, the columns of their cells, planning, storing and running them.

Every later package may import from here.
"""

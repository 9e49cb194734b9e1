"""Sweeps: their identity and grids, the columns of their cells, planning, storing and running them, and the cells that
the authors published.

Every later package may import from here.
"""

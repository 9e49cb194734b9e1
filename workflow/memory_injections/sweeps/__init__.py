"""Sweeps: their identity and grids, the columns of their cells, planning, storing and running them, and the cells that
the authors published.

Every later room may import from here.
"""

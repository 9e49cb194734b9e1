"""Statistics of cells: averages, clusters of prompts, effects with intervals, tests over the grid, hits, and tables.

`paper` and every later package may import from here.
"""

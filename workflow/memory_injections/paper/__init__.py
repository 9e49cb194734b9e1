"""The paper: the numbers that it reports, the results that its authors published, and both beside a study's cells.

`config` and every later package may import from here.
"""

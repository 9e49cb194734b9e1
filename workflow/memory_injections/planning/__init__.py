"""Planning: the sizes of models and data sets, what their jobs cost, what these ask a scheduler for, and the benchmark.

The workflow's rules and the command line use it.
"""

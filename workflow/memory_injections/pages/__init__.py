"""What a reader sees: figures and their registry, the report, the explorer and the walk-through, with their templates.

Only scripts import from here.
"""

"""What a reader sees: the report, the explorer and the walk-through, with their templates.

Only scripts import from here.
"""

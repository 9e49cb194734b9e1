"""What a model computes at the last position of every text, kept in one file, and its attention heads read from there.

Every later package may import from here.
"""

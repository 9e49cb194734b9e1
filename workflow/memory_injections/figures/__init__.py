"""The study's figures, their registry, and what they look like.

A figure is a function from a table to a matplotlib figure; the size is that of a paper's column or of its text.
"""

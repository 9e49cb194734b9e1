"""The tables of a whole study: which there are, and the jobs that make them from cells, heads and measurements."""

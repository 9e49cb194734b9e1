"""Controls of an injection: what else, added in a memory's place, would have done the same.

Which vectors stand in for a memory, at which sites, their cells, and the contrasts with the memory's own.
"""

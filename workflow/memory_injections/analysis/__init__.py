"""What cells say: averages, evidence, the tables, the scorecard and the claims of the paper.

`pages` and `interactive` import from here.
"""

"""What a study's config may say, checked, and its reference.

`planning` and `jobs` import from here, and the workflow.
"""

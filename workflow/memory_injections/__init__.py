"""Memory injections (Sakarvadia et al. 2023, arXiv 2309.05605): the library behind the workflow."""

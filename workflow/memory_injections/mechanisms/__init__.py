"""What an injection does inside a model, and beside its purpose: heads, direct effects, logit lens, side effects.

Every later package may import from here.
"""

"""Planning: sizes of models and data sets, what their jobs cost and ask a scheduler for, and the benchmark."""

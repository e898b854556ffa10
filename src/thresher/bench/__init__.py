"""The benchmark: a grid of methods, kinds of noise and seeds, measured and compared."""

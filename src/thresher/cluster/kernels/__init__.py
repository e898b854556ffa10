"""Compiled loops over arrays: pure functions, without files, threads or Python objects."""

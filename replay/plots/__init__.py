"""Plots of a sweep: one per file, `write.py` writes them all."""

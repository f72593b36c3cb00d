"""Tuning: data sets read, networks trained, profiles calibrated, detectors evaluated, plots drawn.

What steals models is next door, in `theft`; nothing here imports it.
"""

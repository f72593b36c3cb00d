"""Profiles whose thresholds carry a promise: chosen, measured, checked again."""

"""Detectors over traces: what is caught, how soon, at which false-alarm rate."""

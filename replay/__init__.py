"""Recorded traffic: record, play, evaluate, query, and the sample trace."""

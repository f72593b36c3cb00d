"""The online service: tap, Faust app, state, sink, metrics and the command line.

Importing this package imports nothing heavy: the tap lives inside other people's model servers.
"""

"""Recorded queries: files and topics in, files and topics out."""

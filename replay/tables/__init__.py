"""The tables asked: SQL over them, and verdicts read, shown and answered."""

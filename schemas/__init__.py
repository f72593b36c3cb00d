"""What crosses a boundary: query events, verdicts, table columns and the one error tree."""

"""Without the service: record, attack, train, calibrate, evaluate, ask the tables, the demo."""

"""The algorithms: arrays in, scores out. No Kafka, no files, no clock, no global state."""

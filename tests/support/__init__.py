"""What several tests share: brokers, workers, toys, traffic, oracles."""

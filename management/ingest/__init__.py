"""Events in, facts out: journal (later Kafka) → decode → batch → one transaction in Postgres, each record once."""

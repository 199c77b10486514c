"""What edges journaled, into Kafka. See "Shipper" in edge/DESIGN.md."""

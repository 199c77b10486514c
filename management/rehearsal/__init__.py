"""Traffic that milepost drives at itself: an access log again (`replay`), or a seeded plan whose figures are known
beforehand (`demo`). Both go the visitors' way, through the edge over HTTP, and read their figures from the API."""

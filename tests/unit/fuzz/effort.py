"""How long the properties of this folder search: the same short while in every run, or long on request.

`FUZZ=deep python -m pytest tests/unit/fuzz` searches a hundred times as long, and elsewhere each time.
"""

import os

from hypothesis import HealthCheck, settings

_PATIENT = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

settings.register_profile("ci", max_examples=200, derandomize=True, deadline=None, suppress_health_check=_PATIENT)
settings.register_profile("deep", max_examples=20_000, deadline=None, database=None, suppress_health_check=_PATIENT)

searched = settings.get_profile(os.environ.get("FUZZ", "ci"))
"""Decorates each property."""

"""One machine without own servers: Postgres, Valkey and every part of milepost as children of `milepost up`."""

"""What the process `milepost api` holds for its whole life, handed to every request."""

from dataclasses import dataclass

from management.api.client_address import Proxies
from management.api.pages import Cursors
from management.api.passwords import Passwords
from management.api.tokens import Tokens
from management.db.pool import Pool
from management.publisher import Redis
from shared.env import Settings
from shared.ids import ClickIds


@dataclass(frozen=True, slots=True)
class Services:
    """Open connections and keyed tools; `pool` connects as milepost_app when first used."""

    settings: Settings
    pool: Pool
    redis: Redis
    click_ids: ClickIds
    tokens: Tokens
    cursors: Cursors
    passwords: Passwords
    proxies: Proxies

"""The campaigns and accounts that the shared edge of the integration tests serves."""

from shared.campaigns import AccountRow, CampaignRow

OPEN_ACCOUNT, SUSPENDED, SUSPENDED_WITH_FALLBACK = 1, 2, 3
ACCOUNT_FALLBACK = "https://account.example/fallback"
CAMPAIGN_FALLBACK = "https://campaign.example/fallback?from={campaign_id}"

ACCOUNTS = (
    AccountRow(id=OPEN_ACCOUNT, version=1),
    AccountRow(id=SUSPENDED, version=1, status="suspended"),
    AccountRow(
        id=SUSPENDED_WITH_FALLBACK, version=1, status="suspended", fallback_url=ACCOUNT_FALLBACK, currency="EUR"
    ),
)


def row(number: int, **changes: object) -> CampaignRow:
    """A campaign whose slug is `slug(number)`."""
    values: dict[str, object] = {
        "id": number,
        "uuid": slug(number),
        "account_id": OPEN_ACCOUNT,
        "version": 1,
        "name": f"Campaign {number}",
        "destination_url": "https://shop.example/item?click={clickid}&sub={sub1}",
    }
    return CampaignRow(**values | changes)  # type: ignore[arg-type]


def slug(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


ACTIVE = row(1, sub_params={"sub2": "zone"}, cost_param="cost", click_id_param="visitor", click_cost=500_000_000)
PAUSED = row(2, status="paused", fallback_url=CAMPAIGN_FALLBACK)
INACTIVE = row(3, status="inactive")
NOWHERE = row(4, destination_url=None)
DELETED = row(5, status="deleted", fallback_url=CAMPAIGN_FALLBACK)
OF_SUSPENDED = row(6, account_id=SUSPENDED, fallback_url=CAMPAIGN_FALLBACK)
OF_SUSPENDED_WITH_FALLBACK = row(7, account_id=SUSPENDED_WITH_FALLBACK)
BLOCKS_BOTS = row(8, bot_action="block", fallback_url=CAMPAIGN_FALLBACK)
DIVERTS_BOTS = row(9, bot_action="fallback", fallback_url=CAMPAIGN_FALLBACK)
PATH_MACRO = row(10, destination_url="https://shop.example/{sub1}/x?click={clickid}&q={sub2}&fixed=1")
WITH_TOKEN = row(11, postback_security="token", postback_tokens=("token-new", "token-old"))
WITH_HMAC = row(12, postback_security="hmac", postback_tokens=("signing-key",))
WITH_ADDRESSES = row(13, allowed_ips=("198.51.100.0/24",))
LIMITED = row(
    14, default_payout="2.5", max_payout="10", attribution_window_hours=24, cost_model="cpa", cost_value="1.5"
)
ALWAYS_NEW = row(15, duplicate_mode="new")
OF_EURO_ACCOUNT = row(16, account_id=SUSPENDED_WITH_FALLBACK)

CAMPAIGNS = (
    ACTIVE, PAUSED, INACTIVE, NOWHERE, DELETED, OF_SUSPENDED, OF_SUSPENDED_WITH_FALLBACK, BLOCKS_BOTS, DIVERTS_BOTS,
    PATH_MACRO, WITH_TOKEN, WITH_HMAC, WITH_ADDRESSES, LIMITED, ALWAYS_NEW, OF_EURO_ACCOUNT,
)  # fmt: skip

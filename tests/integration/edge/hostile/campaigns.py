"""Campaigns beside those of `rows`, whose destinations have a macro in every place that a visitor can fill."""

from tests.integration.edge.rows import row

EVERY_SLOT = row(
    40,
    name="Every <slot> & more",
    destination_url=(
        "https://shop.example/{sub1}/p-{sub2}/x?click={clickid}&s={sub3}&r={referrer_domain}&u={utm_source}"
        "&p={param:x}&b={browser}&l={language}&n={campaign_name}&e={external_id}&g={gclid}&fixed=1#{sub4}"
    ),
)
AFTER_HOST = row(41, destination_url="https://shop.example/{sub1}")
QUERY_AT_ONCE = row(42, destination_url="https://shop.example?{sub1}={sub2}&fixed=1")
NO_COST_PARAMETER = row(43, click_cost=500_000_000)
SMALL_COSTS = row(44, cost_param="bid", max_click_cost="2.5", click_cost=500_000_000)

CAMPAIGNS = (EVERY_SLOT, AFTER_HOST, QUERY_AT_ONCE, NO_COST_PARAMETER, SMALL_COSTS)

"""Destination macros: what is refused when saved, how values are written, that no value changes a URL's structure.

The judge of structure is ada-url, a WHATWG parser: what browsers do. Which values a click has is covered in
edge/test_macro_values.py; the WHATWG judgement on saving belongs to the campaigns' own tests.
"""

import ada_url
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.macros import MAX_URL, MacroError, UrlTemplate, check_url, encode_value, is_macro

TEMPLATES = (
    "https://shop.example:8443/{sub1}/item?a={sub1}&b={sub2}&c=3#part-{sub1}",
    "http://shop.example/x/{sub1}",
    "https://shop.example/{sub1}{sub2}/end",
    "https://shop.example/.{sub1}/{sub2}./end?q={sub1}",
    "https://shop.example/%2e{sub1}/end",
    "https://shop.example?only={sub1}",
    "https://shop.example#{sub1}",
    "https://shop.example/a;{sub1}/b,{sub2}?x[]={sub1};y={sub2}",
)
HOSTILE = (
    "&",
    "#",
    "/",
    "\\",
    "..",
    ".",
    "%2e%2e",
    "%2E",
    "/../",
    "@evil.example",
    "?x=1",
    "\r\nSet-Cookie: a=b",
    "\t",
)
values = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=12), st.lists(st.sampled_from(HOSTILE)).map("".join))


def structure(url: str) -> tuple[object, ...]:
    parsed = ada_url.URL(url)
    names = [pair.partition("=")[0] for pair in parsed.search.removeprefix("?").split("&")]
    return (
        parsed.protocol,
        parsed.username,
        parsed.password,
        parsed.hostname,
        parsed.port,
        parsed.pathname.count("/"),
        names,
    )


@pytest.mark.parametrize("url", TEMPLATES)
@given(first=values, second=values)
@example(first=".", second=".")
@example(first="", second=".")
@example(first="..", second="")
@example(first="%2e", second="%2e")
def test_no_value_changes_host_path_or_another_parameter(url: str, first: str, second: str) -> None:
    template = UrlTemplate(url)
    expanded = template.expand({"sub1": first, "sub2": second})
    assert expanded.isascii()
    assert expanded.isprintable()
    assert " " not in expanded
    assert structure(expanded) == structure(template.expand({"sub1": "plain", "sub2": "words"}))
    untouched = [pair for pair in ada_url.URL(expanded).search.removeprefix("?").split("&") if pair.startswith("c=")]
    assert untouched in ([], ["c=3"])


@given(value=st.text(max_size=20))
def test_an_encoded_value_decodes_to_itself(value: str) -> None:
    from urllib.parse import unquote

    if "%" not in value:
        assert unquote(encode_value(value)) == value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("clk_a-b.c~d", "clk_a-b.c~d"),
        ("a b&c=d/e", "a%20b%26c%3Dd%2Fe"),
        ("ü", "%C3%BC"),
        ("100%", "100%25"),
        ("%zz", "%25zz"),
        ("%2e%2E", "%252e%252E"),
        ("%ff%00%0D%0A", "%ff%00%0D%0A"),
    ],
)
def test_values_are_percent_encoded_once(value: str, written: str) -> None:
    assert encode_value(value) == written


@pytest.mark.parametrize(
    ("url", "value", "expanded"),
    [
        ("https://h.example/{sub1}/x", ".", "https://h.example/_/x"),
        ("https://h.example/{sub1}/x", "..", "https://h.example/_/x"),
        ("https://h.example/{sub1}", "..", "https://h.example/_"),
        ("https://h.example/.{sub1}", ".", "https://h.example/_"),
        ("https://h.example/..{sub1}/x", "", "https://h.example/_/x"),
        ("https://h.example/%2E{sub1}", ".", "https://h.example/_"),
        ("https://h.example/{sub1}", "...", "https://h.example/..."),
        ("https://h.example/?x={sub1}", "..", "https://h.example/?x=.."),
        ("https://h.example/a/{sub1}/b", "", "https://h.example/a//b"),
    ],
)
def test_a_value_never_becomes_a_dot_segment(url: str, value: str, expanded: str) -> None:
    assert UrlTemplate(url).expand({"sub1": value}) == expanded


def test_a_known_macro_without_value_becomes_empty() -> None:
    assert UrlTemplate("https://h.example/?a={gclid}&b=1").expand({}) == "https://h.example/?a=&b=1"


def test_a_url_without_macros_stays_as_it_is() -> None:
    url = "https://h.example/a?x=%20&y[]=1#z"
    template = UrlTemplate(url)
    assert template.names == ()
    assert template.expand({"sub1": "x"}) == url


def test_text_beyond_ascii_in_the_path_is_escaped() -> None:
    assert UrlTemplate("https://h.example/ü?é={sub1}").expand({}) == "https://h.example/%C3%BC?%C3%A9="


def test_slots_are_in_the_order_of_the_url() -> None:
    assert UrlTemplate("https://h.example/{sub1}?a={clickid}&b={sub1}").slots == ("sub1", "clickid", "sub1")


@pytest.mark.parametrize(
    "url", ["https://h.example/{sub1}/{sub2}?a={clickid}&b={sub1}", "https://h.example/?{sub2}={sub1}"]
)
def test_values_by_slot_and_by_name_give_the_same_url(url: str) -> None:
    template = UrlTemplate(url)
    values = {"sub1": "a b", "sub2": "", "clickid": "clk_1"}
    assert template.fill([values[name] for name in template.slots]) == template.expand(values)


@pytest.mark.parametrize(
    "name",
    ["clickid", "sub1", "sub20", "utm_source", "param:keyword", "gclid", "referrer_domain", "random"],
)
def test_known_macros(name: str) -> None:
    assert is_macro(name)
    check_url(f"https://h.example/?x={{{name}}}")


@pytest.mark.parametrize("name", ["sub0", "sub21", "payout", "utm_", "param:", "CLICKID", "", "click id", "param:a b"])
def test_unknown_macros_are_refused_by_name(name: str) -> None:
    assert not is_macro(name)
    with pytest.raises(MacroError):
        check_url(f"https://h.example/?x={{{name}}}")


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://h.example/",
        "//h.example/",
        "/\\h.example",
        "https:h.example",
        "https:///path",
        "https://h.exa\tmple/",
        " https://h.example/",
        "https://h.example/a b",
        "https://h.example\\@evil.example/",
        "https://user:word@h.example/",
        "https://{sub1}/",
        "https://{sub1}.example/",
        "https://h.example{sub1}",
        "https://h.example:{sub1}/",
        "{sub1}://h.example/",
        "{sub1}",
        "https://ü.example/",
        "https://h.example/{sub1",
        "https://h.example/sub1}",
        "https://h.example/{{sub1}}",
        "",
        "https://h.example/" + "a" * MAX_URL,
    ],
)
def test_unfit_destinations_are_refused_with_a_sentence(url: str) -> None:
    with pytest.raises(MacroError) as refusal:
        check_url(url)
    assert len(str(refusal.value).split()) > 3
    with pytest.raises(MacroError):
        UrlTemplate(url)

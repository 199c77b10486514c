"""The names of systems and browsers: what ua-parser finds, put into the words that reports and rules use.

`*_MATCHERS` stand before ua-parser's own and decide agents that it reads otherwise; OS_FALLBACKS stand after them.
Their names are ours already. `*_NAMES` translate the families of ua-parser; a family that is in none of them keeps
its own name.
"""

Matcher = tuple[str, str | None, str | None, str | None, str | None, str | None]
"""Pattern, name, major, minor, patch, fourth part, as the extractors of ua-parser take them. A part that is None is
read from the pattern's groups: the name from the first, major from the second, minor from the third."""

OTHER = "Other"

LONGEST_NAME = 40
"""Characters. Some families are cut out of the agent itself, whose sender may write anything."""

_VERSION = r"[ /]?(?:OS )?(\d+)?(?:[._](\d+))?"


def _named(pattern: str, name: str) -> Matcher:
    # the empty group stands where the extractor looks for a name, so that the pattern's own two are the version
    return (f"()(?:{pattern})", name, None, None, None, None)


OS_MATCHERS: tuple[Matcher, ...] = (
    _named(r"Puffin/[\d.]+I[PT]", "iOS"),
    _named(r"Puffin/[\d.]+A[PT]", "Android"),
    _named(rf"(?i)windows (?:ce|mobile|phone){_VERSION}|IEMobile|PPC;|pocket internet", "Windows Phone"),
    _named(rf"(?i)(?:open)?harmony(?:os)?{_VERSION}", "HarmonyOS"),
    _named(rf"(?i)\bkaios{_VERSION}", "KaiOS"),
    _named(rf"\bAdr{_VERSION}|\bLinux/[\d.]+ Android", "Android"),
    _named(r"(?i)(?:\biph os|\bipad os|\bIUC\(U;iOS) (\d+)(?:[_.](\d+))?|UCWEB.*\biOS\b", "iOS"),
    _named(r"JUC ?\(Linux; ?U; ?(\d+)(?:\.(\d+))?", "Android"),
    _named(r"(?i)\bplaystation|\bPSP\b", "PlayStation"),
    _named(r"(?i)\bnintendo", "Nintendo"),
    _named(rf"(?i)web0s|webos\.tv|\bhpwos|\bwebos{_VERSION}", "webOS"),
)

OS_FALLBACKS: tuple[Matcher, ...] = (_named(r"Mac_PowerPC|Macintosh|PPC Mac", "macOS"),)

OS_NAMES = {
    "Mac OS X": "macOS",
    "Mac OS": "macOS",
    "Chrome OS": "ChromeOS",
    "Windows Mobile": "Windows Phone",
    "Windows CE": "Windows Phone",
    "BlackBerry OS": "BlackBerry",
    "BlackBerry Tablet OS": "BlackBerry",
    "ATV OS X": "tvOS",
    "WatchOS": "watchOS",
    "GoogleTV": "Android",
    "Chromecast Android": "Android",
    "Fire OS": "Android",
    "Kindle": "Android",
    "VRE": "Android",
    "Web0S": "webOS",
    "FreeBSD": "BSD",
    "OpenBSD": "BSD",
    "NetBSD": "BSD",
    "DragonFly BSD": "BSD",
    "Roku": "Roku OS",
    "Sony": "PlayStation",
    **dict.fromkeys(
        (
            "Ubuntu", "Kubuntu", "Xubuntu", "Lubuntu", "Debian", "Fedora", "Gentoo", "CentOS", "SUSE", "openSUSE", "Mageia",
            "Red Hat", "Mandriva", "Slackware", "Linux Mint", "Arch Linux", "Chromecast Linux", "PCLinuxOS", "Raspbian",
            "VectorLinux", "Puppy", "Lindows", "Oracle Linux", "ALT Linux",
        ),
        "Linux",
    ),
}  # fmt: skip

BROWSER_MATCHERS: tuple[Matcher, ...] = (
    _named(r"SamsungBrowser/(\d+)\.(\d+)|\bMaple", "Samsung Internet"),
    _named(r"(?:UCBrowser|UCWEB|UC Browser) ?/?(\d+)\.(\d+)", "UC Browser"),
    _named(r"(?:Focus|Klar|Rocket)/(\d+)(?:\.(\d+))?", "Firefox Focus"),
    _named(r"(?:HeyTap|Oppo|Realme)Browser/(\d+)\.(\d+)", "HeyTap Browser"),
    _named(r"VivoBrowser/(\d+)\.(\d+)", "Vivo Browser"),
    _named(r"MiuiBrowser/(\d+)\.(\d+)", "MIUI Browser"),
    _named(r"HuaweiBrowser/(\d+)\.(\d+)", "Huawei Browser"),
    _named(r"(?:Maxthon|MXiOS|MxBrowser|MxNitro)[ /]?(\d+)?(?:\.(\d+))?", "Maxthon"),
    _named(r"(?:baiduboxapp|BIDUBrowser|baidubrowser|BaiduHD|FlyFlow|bdbrowser)\w*/?(\d+)?\.?(\d+)?", "Baidu"),
    _named(r"(?:coc_coc_browser|CocCoc)/(\d+)(?:\.(\d+))?", "Coc Coc"),
    _named(r"(?:musical_ly|BytedanceWebview|TikTok)[ _/]*(\d+)?\.?(\d+)?", "TikTok"),
    _named(r"MicroMessenger/(\d+)\.(\d+)", "WeChat"),
    _named(r"(?:DuckDuckGo|Ddg)/(\d+)(?:\.(\d+))?", "DuckDuckGo"),
    _named(r"Brave(?: Chrome)?/(\d+)\.(\d+)", "Brave"),
    _named(r"KAKAOTALK (\d+)\.(\d+)", "KakaoTalk"),
    _named(r"LinkedInApp(?:/(\d+)\.(\d+))?", "LinkedIn"),
    _named(r"OPT/(\d+)\.(\d+)|HbbTV.*(?:Opera|Presto)|Opera.*HbbTV|OPR/.*OMI/|Vewd", "Opera"),
)

BROWSER_NAMES = {
    "Chrome Mobile": "Chrome",
    "Chrome Mobile iOS": "Chrome",
    "Chromium": "Chrome",
    "Chrome Frame": "Chrome",
    "Mail.ru Chromium Browser": "Chrome",
    "Mobile Safari": "Safari",
    "MobileSafari": "Safari",
    "Chrome Mobile WebView": "Android WebView",
    "Mobile Safari UI/WKWebView": "iOS WebView",
    "Android": "Android Browser",
    "IE": "Internet Explorer",
    "IE Mobile": "Internet Explorer",
    "IE Large Screen": "Internet Explorer",
    "Edge Mobile": "Edge",
    "Firefox Mobile": "Firefox",
    "Firefox iOS": "Firefox",
    "Firefox Beta": "Firefox",
    "Firefox Alpha": "Firefox",
    "Firefox (Minefield)": "Firefox",
    "Firefox (Shiretoko)": "Firefox",
    "Firefox (Namoroka)": "Firefox",
    "Firefox (Lorentz)": "Firefox",
    "Minefield": "Firefox",
    "Bon Echo": "Firefox",
    "GranParadiso": "Firefox",
    "Iceweasel": "Firefox",
    "IceWeasel": "Firefox",
    "Firefox Klar": "Firefox Focus",
    "Opera Mobile": "Opera",
    "Opera Tablet": "Opera",
    "Opera Touch": "Opera",
    "Opera GX": "Opera",
    "Opera Neon": "Opera",
    "Opera Coast": "Opera",
    "Vewd Browser": "Opera",
    "Tizen Browser": "Samsung Internet",
    "UC Browser Mini": "UC Browser",
    "UCBrowserHD": "UC Browser",
    "YandexSearch": "Yandex Browser",
    "Yandex": "Yandex Browser",
    "MiuiBrowser": "MIUI Browser",
    "QQ Browser Mobile": "QQ Browser",
    "QQ Browser Mini": "QQ Browser",
    "WeChat Browser": "WeChat",
    "Amazon Silk": "Silk",
    "Google": "Google App",
    "DuckDuckGo Mobile": "DuckDuckGo",
    "Ecosia Android": "Ecosia",
    "Ecosia iOS": "Ecosia",
    "Baidu Browser": "Baidu",
    "Baidu Explorer": "Baidu",
    "BaiduHD": "Baidu",
    "MyIE2": "Maxthon",
    "BlackBerry": "BlackBerry Browser",
    "BlackBerry WebKit": "BlackBerry Browser",
    "Nokia": "Nokia Browser",
    "Nokia OSS Browser": "Nokia Browser",
    "Nokia Services (WAP) Browser": "Nokia Browser",
    "Ovi Browser": "Nokia Browser",
}


def system_name(family: str | None) -> str:
    """The operating system's name for a family of ua-parser; `Other` for none."""
    if not family:
        return OTHER
    return OS_NAMES.get(family) or family[:LONGEST_NAME]


def browser_name(family: str | None) -> str:
    """The browser's name for a family of ua-parser; `Other` for none."""
    if not family:
        return OTHER
    return BROWSER_NAMES.get(family) or family[:LONGEST_NAME]

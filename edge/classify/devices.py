"""What kind of device an agent names: an ordered table of patterns, compiled into the Rust extractor of ua-parser.

The first that matches decides. Named devices stand before the operating systems they run, and what says `tablet`
before what says `mobile`, because old tablets say both. An iPad that asks for the desktop site calls itself a Mac and
counts as one.
"""

import ua_parser_rs

from edge.classify.alternatives import alternatives

TV = "tv"
CONSOLE = "console"
WEARABLE = "wearable"
CAR = "car"
TABLET = "tablet"
MOBILE = "mobile"
DESKTOP = "desktop"
OTHER = "other"

TABLE: tuple[tuple[str, str], ...] = (
    (r"PlayStation|PLAYSTATION|Nintendo|Xbox|XBOX|\bWii\b|\bPSP\b|Dreamcast", CONSOLE),
    (r"DreamPassport|\bPS[345]\b|OUYA", CONSOLE),
    (r"(?i)tesla/|qtcarbrowser|android ?auto|carplay|automotive", CAR),
    (r"(?i)apple ?watch|watchos|wear ?os|galaxy watch|; watch|\bSM-R\d{3}", WEARABLE),
    (r"(?i)hbbtv|smart-?tv|google ?tv|apple ?tv|tvos|netcast|web0s|webos\.tv|\bdtv\b", TV),
    (r"(?i)internet\.?tv|inettv|\bnettv", TV),
    (r"(?i)bravia|\bviera|aquos-?tv|roku|crkey|chromecast|opentv|ce-html|vidaa|mitv|mibox", TV),
    (r"(?i)android tv|tizen.*\btv\b", TV),
    (r"(?i)opera tv|\bomi/|espial|kreatv|philipstv|loewe|\bsetop|\bset-?top|\bstb\b", TV),
    (r"(?i)\bmag\d{3}|beyondtv|large screen", TV),
    (r"(?i)\baft[a-z]{1,5}\d{0,3}\b|tv box|tvbox|leanback|sonydtv|lg browser|maple ?\d|webtv", TV),
    (r"(?i)\bgtv\b|shield android", TV),
    (r"(?i)\babox|\bh96|\bx96|\bt95|\bmx9|\bqm1[56]\d|\bdvb", TV),
    (r"(?i)\btv[ /;)]|[a-z]tv/|freetime|youview|zattoo|netgem|humax", TV),
    (r"Puffin/[0-9.]+[AIW]T", TABLET),  # Puffin says Linux, and the device in its last two letters
    (r"Puffin/[0-9.]+[AIMW][PS]", MOBILE),
    (r"(?i)coolpad", MOBILE),
    (r"(?i)ipad|opera tablet|\(tablet|tablet;|tablet build|tablet/|playbook|touchpad", TABLET),
    (r"(?i)kindle fire|silk-accelerated", TABLET),
    (r"(?i)\b(?:sm-[tpx]\d|gt-p\d|gt-n(?:5|8)\d|sch-i[89][01][05]|sgh-t849|shw-m1[38]|sph-p1)", TABLET),
    (r"(?i)\b(?:lg-v[45]|sgp\d|asus_p0|shv-e230)", TABLET),
    (r"(?i)galaxy tab|nexus (?:7|9|10)\b|pixel (?:c|tablet)\b|xoom|\bmz60|transformer", TABLET),
    (r"(?i)\btf[123]\d\d[a-z]*\b|eee ?pad|iconia", TABLET),
    (r"(?i)\bkf[a-z]{2,6} (?:build|api)|\bkf[a-z]{2,6}[);]|kftt|kindle/|\bpad\b", TABLET),
    (r"(?i)[a-z]pad[ \d-]|[a-z]tab[ \d-]", TABLET),
    (r"(?i)\btab[ \d-]|\btb-?[\dx]|ideatab|ideapad|mediapad|matepad|thinkpad tablet|yoga tab", TABLET),
    (r"(?i)\byt\d-|\b[bs][568]0[08]0\b|\ba\d{4}-[fhv]", TABLET),
    (r"(?i)archos ?(?:[5-9]|1[01])\d|lifetab|\bodys[ _-]|venue ?[78]|streak (?:7|10)", TABLET),
    (r"(?i)dell streak|tegra note|shield tablet", TABLET),
    (r"(?i)opera tablet|xyboard|\b[ab]\d-a?\d\d|\bmid[-_ ]?\d|\bpmp\d{3}|\bmediapad|\bm2-a0", TABLET),
    (r"(?i)\bbah\d?-|; me\d{3}|\bk0[01][a-z0-9]\b|nook|\bbntv|pocketbook|hudl|\bp[nm]-\d", TABLET),
    (r"(?i)windows phone|windows mobile|windows ce|iemobile|\bwpdesktop|zunewp|xblwp|iphone", MOBILE),
    (r"(?i)ipod|\biph\d|iph os", MOBILE),
    (r"(?i)android.*\bmobi|\bmobi.*android|opera m(?:obi|ini)|\badr \d|firefox.*mobile|\(mobile;", MOBILE),
    (r"(?i)blackberry|\bbb10\b|\brim\b|nokia|symbian|series ?[346]0|s60|maemo|meego|kaios", MOBILE),
    (r"(?i)palm|webos/|hpwos|bada", MOBILE),
    (r"(?i)midp|cldc|j2me|ucweb|\bjuc\b|brew|up\.browser|up\.link|\bwap\b|wap[ _]browser", MOBILE),
    (r"(?i)obigo|netfront|maui|\bmre/|teleca|dorado|jig browser|kyocera|\bsec-sgh", MOBILE),
    (r"(?i)samsung-|sonyericsson|\bsie-|\bmot-|\bsgh-|\bsch-|\blg-?/?[a-z]{1,2}\d|alcatel", MOBILE),
    (r"(?i)docomo|softbank|kddi|j-phone", MOBILE),
    (r"(?i)vodafone|htc[_-]|smartphone|pocket internet|portalmmm|benefon|panasonic|philips", MOBILE),
    (r"(?i)sagem|sanyo|\bzte", MOBILE),
    (r"(?i)dalvik|okhttp.*android|\[fb|fban|fbav|instagram.*android|tizen.*mobile", MOBILE),
    (r"(?i)mobile.*tizen|harmonyos.*mobile", MOBILE),
    # phones whose browsers leave out the word Mobile
    (r"(?i)android.*(?:\bgt-[bceis]\d|\bgt-n7|\bsm-[acefgjnsz]\d|\bhtc|nexus (?:4|5|6|one|s)\b|\bmoto |phone)", MOBILE),
    (r"(?i)android [12]\.", MOBILE),
    (r"(?i)android", TABLET),
    (r"(?i)\bmobile\b|\bphone\b|cellphone|\bios\b", MOBILE),
    (r"Windows|Win(?:9[58]|NT|16|32|64)|Mac(?:intosh|_PowerPC|_Intel| OS)|X11|CrOS|Linux", DESKTOP),
    (r"BSD|SunOS|OS/2|BeOS", DESKTOP),
    (r"(?i)haiku|amiga|aros|risc os|unix|solaris|irix|\bnext\b|vms|syllable|\bqnx\b|darwin", DESKTOP),
    (r"(?i)lynx|links|konqueror", DESKTOP),
)  # fmt: skip


class DeviceTable:
    """The ordered table, compiled."""

    def __init__(self) -> None:
        self._extractor = ua_parser_rs.UserAgentExtractor(
            (part, device, None, None, None, None) for pattern, device in TABLE for part in alternatives(pattern)
        )

    def device(self, user_agent: str) -> str:
        """mobile tablet desktop tv console wearable car, or other where the agent names none."""
        match = self._extractor.extract(user_agent)
        return str(match.family) if match is not None else OTHER

"""The shapes of personal data and secrets, as bounded patterns over UTF-8 bytes.

Every repetition has a limit and no two neighbours can take the same byte in many ways, so each
attempt is bounded and a search is linear. No pattern matches or looks through a bracket.
"""

import re

# Letters of scripts that are written with spaces (U+00C0 to U+1FFF), and of those that are not
# (kana, Han, Hangul): `请联系john@example.com` must not take the request with it.
_NARROW = rb"(?:[\xc3-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|\xe1[\x80-\xbf]{2})"
_WIDE = rb"(?:\xe3[\x81-\xbf][\x80-\xbf]|[\xe4-\xed][\x80-\xbf]{2})"

# Leading dots, hyphens and quotes belong to the sentence, not to the address.
LOCAL = re.compile(
    rb"(?:(?:[A-Za-z0-9_]|" + _NARROW + rb")(?:[A-Za-z0-9._%+'\-]|" + _NARROW + rb"){0,63}"
    rb"|" + _WIDE + rb"{1,21})\Z"
)
_LABEL = rb"(?:(?:[A-Za-z0-9]|" + _NARROW + rb")(?:[A-Za-z0-9\-]|" + _NARROW + rb"){0,62}+"
_LABEL += rb"|" + _WIDE + rb"{1,21}+)"
DOMAIN = re.compile(
    rb"(?:" + _LABEL + rb"\.){1,8}"
    rb"(?P<tld>xn--[A-Za-z0-9\-]{2,59}+|(?:[A-Za-z]|"
    + _NARROW
    + rb"){2,63}+|"
    + _WIDE
    + rb"{2,8}+)"
    rb"(?![A-Za-z0-9])"
)
# `icon@2x.png` is a picture for a dense screen.
FILE_ENDINGS = frozenset(
    b"avif bmp css gif ico jpeg jpg js json less map mjs png scss svg tif tiff webp".split()
)

_OCTET = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
IPV4 = re.compile(
    rb"(?<![A-Za-z0-9_\x80-\xff])(?<![A-Za-z0-9]\.)"
    rb"(?:" + _OCTET + rb"\.){3}" + _OCTET + rb"(?![A-Za-z0-9_+]|\.[0-9])"
)
DOTTED_CONTEXT = re.compile(
    rb"(?i)(?:(?<![a-z])(?:version|ver|v|rev|revision|release|build|firmware|kernel|section|sec"
    rb"|chapter|clause|article|paragraph|rule|figure|fig|table|appendix|oid)s?|\xc2\xa7)"
    rb"[ .:#=]{0,3}\Z"
)

# One separator inside a number: space, dot, hyphen, slash, U+00A0, U+2010 to U+2013, U+202F.
_S = rb"(?:[ .\-/]|\xc2\xa0|\xe2\x80[\x90-\x93\xaf])"
_BEFORE = rb"(?<![A-Za-z0-9_/=])(?<![0-9][.\-/,])"
_AFTER = rb"(?![0-9]|[.\-/][0-9])"
_STEP = rb"(?:" + _S + rb"{0,2}\(?[0-9]\)?)"
_EXTENSION = rb"(?:[ ]?(?:ext?\.?|x|\#)[ ]?[0-9]{1,6})?"

_E164 = rb"\+(?:1" + _STEP + rb"{10}|[1-9]" + _STEP + rb"{6,14})"
_ZEROS = rb"00[1-9][0-9]{0,2}(?:" + _S + rb"[0-9]{2,5}){2,5}"
_NANP = (
    rb"(?:1" + _S + rb"?)?(?:\([2-9][0-9]{2}\)" + _S + rb"{0,2}[2-9][0-9]{2}" + _S + rb"[0-9]{4}"
    rb"|[2-9][0-9]{2}" + _S + rb"[2-9][0-9]{2}(?:[.\-]|\xe2\x80[\x90-\x93])[0-9]{4})"
)
# 0 and an area code, then groups of at least two digits behind one and the same separator, nine
# to twelve digits in all: a date has eight, an ISSN has eight, an ISBN ends with a group of one.
_TRUNK = (
    rb"(?!0[0-9]*\.(?:[0-9]{5}|[0-9]{2}\.(?:19|20)))0[1-9](?:"
    + rb"|".join(
        rb"[0-9]{%d}(?P<s%d>%b)(?=[0-9]{2})(?:(?:(?P=s%d)(?=[0-9]{2}))?[0-9]){%d,%d}"
        % (area, area, _S, area, 7 - area, 10 - area)
        for area in range(4)
    )
    + rb")"
)
# `(08) 8747 6301`; without the 0 a hyphen must follow, and no number may precede, for
# `45 (12) 1234-1245` cites pages.
_AREA = rb"\(0[1-9][0-9]{0,3}\)(?:" + _S + rb"?[0-9]){5,9}"
_AREA += rb"|\([1-9][0-9]\)[ ]?[0-9]{3,4}-[0-9]{3,4}"

# A shy number is none right behind another: `1 023 456 789` is a quantity.
PHONE = re.compile(
    _BEFORE
    + rb"(?P<number>"
    + rb"|".join((_E164, _ZEROS, _NANP))
    + rb"|(?P<shy>"
    + rb"|".join((_TRUNK, _AREA))
    + rb"))"
    + _EXTENSION
    + _AFTER
)
BEHIND_NUMBER = re.compile(rb"[0-9](?:[ ]|\xc2\xa0)\Z")
PHONE_IN_CONTEXT = re.compile(
    _BEFORE + rb"(?P<number>\(?[0-9]" + _STEP + rb"{6,14})" + _EXTENSION + _AFTER
)
PHONE_CONTEXT = re.compile(
    rb"(?i)(?:(?<![a-z])(?:tel|t\xc3\xa9l|phone|telephone|telefon|telefono|tel\xc3\xa9fono|telefone"
    rb"|telefoon|t\xc3\xa9l\xc3\xa9phone|ph|fon|fax|mobile|mobil|mob|cell|cellular|call|dial|sms"
    rb"|desk|office|whatsapp|viber|hotline|handy|handynummer|rufnummer|answering)(?![a-z])"
    rb"|\xd1\x82\xd0\xb5\xd0\xbb|\xe7\x94\xb5\xe8\xaf\x9d|\xe9\x9b\xbb\xe8\xa9\xb1|\xe6\x89\x8b\xe6\x9c\xba)"
    rb"[^0-9@\[\]\n]{0,30}\n?\Z"
)
DATE = re.compile(
    rb"(?:19|20)[0-9]{2}(.)[0-9]{2}\1[0-9]{2}(?:[^0-9].*)?"
    rb"|[0-9]{2}(.)[0-9]{2}\2(?:19|20)[0-9]{2}(?:[^0-9].*)?"
)

_C = rb"([ \-]|\xc2\xa0)"
CARD = re.compile(
    rb"(?<![A-Za-z0-9_])(?<![0-9][.\-,])(?:"
    rb"(?P<sixteen>[0-9]{4}" + _C + rb"[0-9]{4}\2[0-9]{4}\2[0-9]{4})(?:\2[0-9]{3})?"
    rb"|[0-9]{4}" + _C + rb"[0-9]{6}\3[0-9]{4,5}"
    rb"|[0-9]{12,19})(?![A-Za-z0-9_]|[.\-][0-9])"
)
# Visa, Mastercard, American Express, Diners, Discover, JCB, UnionPay, Maestro.
CARD_ISSUER = re.compile(
    rb"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})"
    rb"|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    rb"|3[47][0-9]{13}|3(?:0[0-5]|[689][0-9])[0-9]{11}"
    rb"|6(?:011|4[4-9][0-9]|5[0-9]{2})[0-9]{12,15}"
    rb"|35[0-9]{14}|(?:1800|2131)[0-9]{11}|62[0-9]{14,17}"
    rb"|(?:5018|5020|5038|5[678][0-9]{2}|6304|6390|67[0-9]{2})[0-9]{8,15}"
)

# What a sample in a report must not publish: one crawl snapshot held 12,000 live keys.
URL_PARTS = re.compile(
    rb"(?i)(?<![a-z0-9+.\-])(?P<scheme>[a-z][a-z0-9+.\-]{1,20}://)(?P<user>[^\s/?#@]{1,300}@)?"
    rb"(?P<place>[^\s?#\"'<>]{0,2000})(?P<query>[?#][^\s\"'<>]*)?"
)
SECRET = re.compile(
    rb"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[A-Za-z0-9+/=\s\\:,\-]{0,8000}"
    rb"|(?:AKIA|ASIA|AROA)[0-9A-Z]{16}"
    rb"|AIza[0-9A-Za-z_\-]{35}"
    rb"|(?:ghp|gho|ghu|ghs|ghr|github_pat|glpat|xox[abprs]|sk|pk|rk|hf|npm|pypi)[_\-][A-Za-z0-9_\-]{16,}"
    rb"|eyJ[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]*){0,4}"
    rb"|(?i:bearer|basic)[ ]+[A-Za-z0-9._~+/=\-]{8,}"
    rb"|(?i:authorization)[\"']?[ ]{0,3}[:=][^\n]{4,300}"
    rb"|(?i:x-amz-signature|api[_\-]?key|access[_\-]?key|secret|passw(?:or)?d|pwd"
    rb"|token)[\"']?[ ]{0,3}[:=][ ]{0,3}[\"']?[^\s\"']{4,300}"
)
# A host names a place and not a person: no part of it is a token, `com/2012/...` neither. Without
# a dot it may be one: `ss://` is followed by a password.
HOST = re.compile(
    rb"(?:[A-Za-z0-9_\-\x80-\xff]{1,63}\.){1,16}[A-Za-z0-9\-\x80-\xff]{2,63}\.?(?::[0-9]{1,5})?(?:/|\Z)"
)
LAST_LABEL = re.compile(rb"[A-Za-z]{2,24}/")
TOKEN = re.compile(rb"[A-Za-z0-9+/_=\-]{24,}")

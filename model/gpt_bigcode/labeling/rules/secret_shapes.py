"""What a key, a password or a user name cannot be: code, a number, a version, a date."""

import re

KEY, PASSWORD, USERNAME = "KEY", "PASSWORD", "USERNAME"
_NAME = r"[A-Za-z_$][\w$]*(?:(?:\.|::|->)[A-Za-z_$][\w$]*)*"
_CODE = re.compile(
    rf"{_NAME}(?=[(\[])"  # a call or a look-up
    r"|(?:process\.env|os\.environ|import\.meta\.env)\b.*"
    r"|!(?i:vault|secret|ref|sub|getatt|importvalue|env\w*)\b"  # tags of YAML
    r"|\$\{[^}]*\}?|\$\([^)]*\)?|\$[A-Z_][A-Z0-9_]*\b",  # variables of shells
)
_REACH = 64  # characters after a span that may belong to its name
_NO_SECRET = re.compile(
    r"\d{1,5}\s?[-\u2013]\s?\d{1,5}"  # a range of pages
    r"|[-+]?\d+\.\d*(?:[eE][-+]?\d+)?"  # a number
    r"|(?:[\w./@-]+@)?[\^~=<>v ]*\d+(?:\.\d+){1,3}(?:[-+][\w.]+)?"  # a version
    r"|[a-z_]+[=:]|\w*(?:&\w+=\w*)+|\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?.{0,10})?"  # a date
    r"|\d\d?/\w{2,9}/\d{2,4}(?::\d\d){0,3}|\d\d?:\d\d(?::\d\d)?(?:[.,]\d+)?"
)
_FIELD, _VALUE = re.compile(r"[a-z_]{2,32}"), re.compile(r"=[\w\"']")  # user=anna
_FEWEST = 2  # letters and digits of a secret
"""What names a password before it: nothing else makes one of a plain word or number."""
_CUE = re.compile(
    r"(?i)pass|pwd|\bpw\b|\bpin\b|secret|credential|login|auth|connect|token|\s-p|identified"
    r"|sudo|:\$|kennwort|\{SHA"
)
_PLAIN = re.compile(r"[A-Za-z_]+|\d+[^\w\s]?|[A-Za-z]+\.?(?:[ -][a-z]+)*")
_KEY = re.compile(r"[\w.-]+[\"'\]]{0,2}\s*[=:]\s*[\"']?$")  # what is set to the value
# Inside a URL, after its host; what a query calls a secret may be one.
_PATH = re.compile(r"://[^\s/@]+/(?![^\s]*(?i:pass|pwd|secret|token|key|auth|code)\w*=)[^\s]*$")
_LEAST_KEY, _LEAST_WITHOUT_DIGITS = 8, 32
_HASH = re.compile(r"(?i)(?:\b(?:sha\d*|md5|blake\w*|crc\d*)[-=:]|\bh1:|integrity\W{1,4})$")
_LOOK_BACK = 96
_USER_CUE = re.compile(
    r"(?i)user|login|owner|uid|assignee|account|nick|@|/home/|\\users|todo|fixme|xxx|hack"
    r"|note|\bby\b|\bfor\b|on call|cc\b|review|\bsu\b|chown|useradd|credential|account|ssh|://|-u\b|\bid\b|auth(?:or)?\b|auth[=:(_]|connect|ldap|cn="
    r"|ftp|\d - $|^$|^\s*[\"'(-]|:$|grant|identified|member|handle|github"
)


def refused(text: str, after: str) -> bool:
    """Whether something that was called a secret is code, a number, a version or a date.

    Args:
        text: what was found.
        after: what follows it on its line.
    """
    if sum(map(str.isalnum, text)) < _FEWEST or _NO_SECRET.fullmatch(text):
        return True
    if _FIELD.fullmatch(text) and _VALUE.match(after):
        return True
    found = _CODE.match(text + after[:_REACH])
    # The whole of it must be code: `getpass(` is, `hunter2(!` begins as a name does.
    return found is not None and found.end() >= len(text.rstrip(".([ "))


def unlikely(label: str, text: str, before: str) -> bool:
    """Whether nothing in the line speaks for a secret or user name that looks like a plain word.

    Args:
        label: its label.
        text: what was found.
        before: what precedes it on its line.
    """
    cue = before[-_LOOK_BACK:]
    if label == KEY:
        least = _LEAST_KEY if any(map(str.isdigit, text)) else _LEAST_WITHOUT_DIGITS
        return len(text) < least or _HASH.search(cue) is not None
    if label == PASSWORD:
        if _PATH.search(cue):
            return True
        key = _KEY.search(cue)
        return _PLAIN.fullmatch(text) is not None and not _CUE.search(key[0] if key else cue)
    if label == USERNAME:
        return not _USER_CUE.search(cue)
    return False

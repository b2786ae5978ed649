"""Which Python files are worth learning from, and what to hide in them before anyone reads them."""

from __future__ import annotations

import ast
import re
import warnings
from dataclasses import dataclass

MAX_LINE_CHARACTERS = 1000
MAX_MEAN_LINE_CHARACTERS = 100
MIN_ALPHANUMERIC_SHARE = 0.25
MAX_DIGIT_SHARE = 0.20
COMMENT_SHARE = (0.01, 0.80)
FILE_BYTES = (200, 256_000)

_DROPPED_FOLDERS = frozenset(
    {
        *("_vendor", "vendor", "vendored", "_vendored", "third_party", "thirdparty", "extern"),
        *("externals", "_extern", "node_modules", "site-packages", "migrations", "locale"),
        *("locales", "bundled", "lib2to3"),
    }
)
_GENERATED_NAMES = re.compile(r"(_pb2(_grpc)?|_version|versioneer|_generated|parsetab|lextab)\.py$")
_GENERATED_TEXT = re.compile(
    r"auto-?\s?generated|generated (by|from|with|automatically)|do not edit|don't edit|@generated",
    re.IGNORECASE,
)
# Names and opening sentences that stand for a benchmark's problems; a file with one of them goes.
_BENCHMARKS = re.compile(
    r"human_?eval|\bmbpp\b|ds-?1000|multipl-e\b"
    r"|def (has_close_elements|separate_paren_groups|truncate_number|below_zero"
    r"|mean_absolute_deviation|parse_nested_parens|filter_by_substring|sum_product|rolling_max"
    r"|make_palindrome|string_xor|all_prefixes|string_sequence|count_distinct_characters"
    r"|parse_music|how_many_times|find_closest_elements|rescale_to_unit|filter_integers"
    r"|largest_divisor|flip_case|filter_by_prefix|get_positive|find_zero|sort_third|sort_even"
    r"|fizz_buzz|prime_fib|triples_sum_to_zero|car_race_collision|incr_list|pairs_sum_to_zero"
    r"|change_base|triangle_area|fib4|remove_vowels|below_threshold|same_chars|correct_bracketing"
    r"|is_happy|numerical_letter_grade|strange_sort_list|will_it_fly|smallest_change"
    r"|total_match|is_multiply_prime|is_simple_power|iscube|hex_key|decimal_to_binary"
    r"|min_cost|is_woodall|check_smaller|dog_age|find_rotations|is_not_prime|heap_queue_largest"
    r"|similar_elements|get_ludic|remove_Occ|sort_matrix|count_common)\("
    r"|are any two numbers closer to each other than"
    r"|Write a function to find the shared elements from the given two lists",
)

_EMAIL = re.compile(
    r"\b[\w.+-]{1,64}@(?!example\.)(?:[\w-]{1,63}\.){1,4}"
    r"(?:com|org|net|edu|gov|io|de|uk|fr|ch|nl|se|no|dk|fi|pl|ru|cz|at|it|es|br|in|cn|jp|au|ca|us|me|dev|info|eu)\b"
)
_KEYS = re.compile(
    r"\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[0-9A-Za-z]{36,}|\bAIza[0-9A-Za-z_-]{35}\b"
    r"|\bxox[abprs]-[0-9A-Za-z-]{10,}|\bsk-[0-9A-Za-z]{32,}|\bsk_live_[0-9A-Za-z]{20,}"
    r"|\beyJ[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{16,}\.[0-9A-Za-z_-]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----"
)
_BLOB = re.compile(r"[A-Za-z0-9+/=]{200,}|(?:\\x[0-9a-fA-F]{2}){40,}")
_LICENCE_WORDS = re.compile(r"copyright|licen[sc]e|warrant|all rights reserved", re.IGNORECASE)


@dataclass(frozen=True)
class Verdict:
    """The text to keep, or the reason why there is none."""

    text: str | None
    reason: str


def path_reason(path: str) -> str | None:
    """Why a file is dropped for where it lies, or None."""
    parts = path.split("/")
    if any(part in _DROPPED_FOLDERS for part in parts[:-1]):
        return "vendored or generated folder"
    if _GENERATED_NAMES.search(parts[-1]):
        return "generated name"
    return None


def judge(raw: bytes) -> Verdict:
    """One file's bytes to the text that is trained on: decoded, checked, secrets removed."""
    if not FILE_BYTES[0] <= len(raw) <= FILE_BYTES[1]:
        return Verdict(None, "size")
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return Verdict(None, "encoding")
    reason = _shape_reason(text) or _content_reason(text)
    if reason is not None:
        return Verdict(None, reason)
    return Verdict(redact(drop_licence_header(text)), "kept")


def _shape_reason(text: str) -> str | None:
    lengths = [len(line) for line in text.split("\n")]
    if max(lengths) > MAX_LINE_CHARACTERS or sum(lengths) / len(lengths) > MAX_MEAN_LINE_CHARACTERS:
        return "line length"
    if sum(map(str.isalnum, text)) < MIN_ALPHANUMERIC_SHARE * len(text):
        return "alphanumeric share"
    if sum(map(str.isdigit, text)) > MAX_DIGIT_SHARE * len(text):
        return "table of numbers"
    return None


def _content_reason(text: str) -> str | None:
    if _GENERATED_TEXT.search(text[:1500]):
        return "generated text"
    if _BENCHMARKS.search(text):
        return "benchmark"
    if _BLOB.search(text):
        return "binary data"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "does not parse"
    low, high = COMMENT_SHARE
    if not low <= comment_share(text, tree) <= high:
        return "comment share"
    return None


def comment_share(text: str, tree: ast.Module) -> float:
    """Characters of comments and docstrings over all characters."""
    docs = sum(_docstring_length(node) for node in ast.walk(tree))
    comments = sum(len(match) for match in re.findall(r"(?m)(?:^|\s)#[^\n'\"]*$", text))
    return (docs + comments) / max(1, len(text))


def _docstring_length(node: ast.AST) -> int:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if not isinstance(node, documented) or not node.body:
        return 0
    first = node.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
        value = first.value.value
        return len(value) if isinstance(value, str) else 0
    return 0


def drop_licence_header(text: str) -> str:
    """The text without its leading comment block where that block is a licence notice."""
    lines = text.split("\n")
    end = 0
    while end < len(lines) and (not lines[end].strip() or lines[end].startswith("#")):
        end += 1
    if not _LICENCE_WORDS.search("\n".join(lines[:end])):
        return text
    kept = [line for line in lines[:end] if line.startswith("#!")]
    return "\n".join(kept + lines[end:])


def redact(text: str) -> str:
    """E-mail addresses and keys of well-known shapes become placeholders."""
    return _KEYS.sub("<KEY>", _EMAIL.sub("<EMAIL>", text))

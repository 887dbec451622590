"""Texts that want something of an agent or a shell: hidden or imperative instructions, commands that fetch and run. Pure.

Patterns only raise or lower what other evidence says, or say what a tool's description holds: words alone are never proof of an attack.
All patterns are linear: no nested repetition.
"""

from __future__ import annotations

import re

TEXT_MAX = 1 << 16

_IMPERATIVE = re.compile(
    r"(?i)\b(?:ignore|disregard|forget|override) (?:all |any |your |the |of ){0,4}"
    r"(?:previous|prior|above|earlier|preceding|system|other) (?:instructions?|prompts?|rules?|messages?|directions?)"
    r"|\b(?:ignore|disregard|forget) (?:all |any |your |these |those ){1,3}(?:instructions?|prompts?|rules?|directions?)\b"
    r"|\bdo(?: not|n't) (?:tell|inform|mention|notify|show|reveal|alert)(?: this| it| that| anything){0,2}(?: to)? (?:the |your )?"
    r"(?:user|human|developer|operator)"
    r"|\bwithout (?:telling|informing|notifying|asking|alerting) (?:the |your )?(?:user|human)"
    r"|<(?:important|system|secret|hidden|instructions?|admin)>"
    r"|(?:^|[\n>*#-]) ?(?:to|for|attention|note (?:to|for)|dear|hey|message (?:to|for)),? (?:the |all |any )?"
    r"(?:ai |llm )?(?:ai|llm|assistant|language model|model|agent|chatbot|claude|gpt|copilot)s?(?: reading this)?[:,]"
    r"|\b(?:before|prior to|when|after) (?:using|calling|invoking|running) (?:this|any|the|other) tools?\b[^.\n]{0,80}"
    r"\b(?:read|send|include|fetch|cat|pass|call|run|execute|upload)\b"
    r"|\b(?:you must|always|make sure to|first,?) (?:also )?(?:read|send|include|pass|attach|upload|exfiltrate|post|run|execute|cat)\b"
    r"[^\n]{0,120}(?:\.ssh|\.env|credentials?|api[_ ]?key|token|secret|password|id_rsa|https?://|curl |\| ?(?:ba)?sh)"
    r"|\bnew (?:system )?(?:instructions?|prompt) ?:|\[(?:system|inst)\]"
    r"|\bend of (?:system )?(?:prompt|document|instructions)\b[^\n]{0,40}\bnew\b"
)
_SENSITIVE = re.compile(
    r"(?i)(?:~|\$HOME|/home/\w+|/root)?/?\.(?:ssh|aws|env|netrc|git-credentials|npmrc|kube|docker)\b|\bid_(?:rsa|ed25519)\b|/etc/(?:shadow|passwd)\b"
)
# Text that people do not see and models read: tag characters, bidi overrides, runs of zero-width characters.
_HIDDEN = re.compile(r"[\U000e0020-\U000e007e]{2,}|[\u202a-\u202e\u2066-\u2069]|[\u200b\u200c\u2060\ufeff]{3,}")
_DANGEROUS = re.compile(
    r"(?i)\b(?:curl|wget|fetch)\b[^\n|;]{0,300}\|\s*(?:sudo\s+)?(?:env\s+)?(?:ba|z|da|k)?sh\b"
    r"|\b(?:ba|z|da)?sh\s+(?:-c\s+)?[\"']?(?:<\(|\$\()\s*(?:curl|wget)"
    r"|\bbase64\s+(?:-d|--decode|-D)\b[^\n|;]{0,200}\|\s*(?:ba|z|da)?sh\b|/dev/(?:tcp|udp)/"
    r"|\b(?:nc|ncat|netcat)\b[^\n]{0,80}\s-[a-z]*[ec]\b|\bsocat\b[^\n]{0,120}\bexec:"
    r"|\bcurl\b[^\n]{0,200}(?:-d|--data(?:-binary|-raw|-urlencode)?|-F|--form|-T|--upload-file|-H)[ =]?[^\n]{0,120}"
    r"(?:\$\{?\{?[^\n]{0,20}(?:secret|token|key|passw|env)|@[^\n ]{0,60}(?:\.ssh|\.env|\.aws|id_|credential|netrc)"
    r"|\$\((?:cat|env|printenv|base64))"
    r"|\beval\s*\(?\s*[\"'`$(]{1,3}(?:curl|wget|base64|atob|requests\.get|urlopen)"
    r"|\bexec\(\s*(?:base64|zlib|bytes\.fromhex|__import__|urllib|requests|codecs\.decode)"
    r"|\$\{\{\s*(?:toJSON\(\s*secrets\s*\)|secrets\.[A-Z_]{2,60}\s*\}\}[^\n]{0,160}\b(?:curl|wget|https?://))"
    r"|\b(?:curl|wget)\b[^\n]{0,200}\$\{\{\s*secrets\."
)
_NETWORK = re.compile(
    r"(?i)\b(?:curl|wget|nc|ncat|socat|ssh|scp)\s|https?://|\b(?:urlopen|requests\.(?:get|post)|urllib|http\.client|socket\.(?:socket|create_connection)|fetch\()"
)
_PYTHON_CODE = re.compile(rb"(?m)^\s*import\s|\bexec\(|__import__|\bos\.system|\bsubprocess\b")


def imperative(text: str) -> str:
    """Words that give orders to an agent behind its user's back, or ``""``."""
    found = _IMPERATIVE.search(text[:TEXT_MAX])
    return found.group() if found else ""


def overriding(text: str) -> str:
    """Orders that nobody who means well writes: to drop other instructions, to keep something from the user, in tags for the model."""
    found = (one.group() for one in _IMPERATIVE.finditer(text[:TEXT_MAX]))
    return next((order for order in found if re.match(r"(?i)ignore|disregard|forget|override|<|\[|do|without", order)), "")


def hidden(text: str) -> str:
    """What hides text from people, in words, or ``""``."""
    found = _HIDDEN.search(text[:TEXT_MAX])
    if not found:
        return ""
    first = ord(found.group()[0])
    return (
        "invisible tag characters"
        if first >= 0xE0000
        else "characters that reverse the direction of text"
        if first in range(0x202A, 0x206A) and first != 0x2060
        else "zero-width characters"
    )


def sensitive(text: str) -> str:
    """A credential file that the text names, or ``""``."""
    found = _SENSITIVE.search(text[:TEXT_MAX])
    return found.group() if found else ""


def dangerous(text: str) -> str:
    """A command that fetches and runs, opens a shell to the network, or sends secrets; or ``""``."""
    found = _DANGEROUS.search(text[:TEXT_MAX])
    return found.group() if found else ""


def reaches_out(text: str) -> bool:
    """Whether it names a host or a program that talks to one."""
    return bool(_NETWORK.search(text[:TEXT_MAX]))


def is_python_code(data: bytes) -> bool:
    """Whether a line of a ``.pth`` file would be run, not only added to the path."""
    return bool(_PYTHON_CODE.search(data))

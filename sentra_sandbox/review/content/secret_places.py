"""Where secrets lie and what they look like, as data: files, names of variables, forms of tokens, and whom they belong to.

``home`` stands for any user's home directory. Patterns are regular expressions over absolute paths.
"""

from __future__ import annotations

import re

_HOME = r"(?:/root|/home/[^/]+|/Users/[^/]+|/tmp/[^/]+|.*)"
AWS = ("*.amazonaws.com", "*.api.aws", "*.amazonaws.com.cn", "169.254.169.254", "169.254.170.2")
GOOGLE = ("*.googleapis.com", "accounts.google.com", "*.google.internal", "169.254.169.254")
GITHUB = ("github.com", "*.github.com", "*.githubusercontent.com", "ghcr.io", "*.githubcopilot.com", "models.github.ai")
NPM = ("registry.npmjs.org", "npm.pkg.github.com", "registry.yarnpkg.com")
PYPI = ("upload.pypi.org", "test.pypi.org", "pypi.org")
AZURE = ("*.azure.com", "*.windows.net", "login.microsoftonline.com", "*.microsoft.com")

# (pattern, how it is written, whose it is). The first that fits counts.
CREDENTIAL_FILES: tuple[tuple[re.Pattern[str], str, tuple[str, ...]], ...] = tuple(
    (re.compile(pattern), form, owners)
    for pattern, form, owners in (
        (rf"{_HOME}/\.aws/(?:credentials|config|sso/cache/.*|cli/cache/.*)", "text", AWS),
        (r".*\.(?:pub|crt|cer|csr)|.*/(?:known_hosts|authorized_keys)(?:\.old)?", "public", ()),
        (r".*/\.env\.(?:example|sample|template|dist|defaults?)", "public", ()),
        (rf"{_HOME}/\.ssh/(?!config$|environment$|rc$).+", "text", ()),
        (r"/etc/ssh/ssh_host_.*_key", "text", ()),
        (r".*/\.env(?:\.[\w.-]+)?|.*/[\w-]+\.env", "text", ()),
        (rf"{_HOME}/[._]netrc", "netrc", ()),
        (r".*/\.npmrc", "npmrc", NPM),
        (r".*/\.yarnrc(?:\.yml)?", "text", NPM),
        (rf"{_HOME}/\.pypirc", "text", PYPI),
        (rf"{_HOME}/\.cargo/credentials(?:\.toml)?", "text", ("crates.io", "*.crates.io")),
        (rf"{_HOME}/\.gem/credentials", "text", ("rubygems.org",)),
        (rf"{_HOME}/\.kube/config|/etc/kubernetes/.*\.conf|.*/kubeconfig", "text", ()),
        (r"/var/run/secrets/.*|/run/secrets/.*", "whole", ("kubernetes.default.svc", "kubernetes.default")),
        (rf"{_HOME}/\.config/gcloud/.*|.*/application_default_credentials\.json|.*service[-_]?account.*\.json", "text", GOOGLE),
        (rf"{_HOME}/\.azure/.*", "text", AZURE),
        (rf"{_HOME}/\.docker/config\.json|.*/\.dockercfg|.*/containers/auth\.json", "docker", ()),
        (rf"{_HOME}/\.git-credentials|{_HOME}/\.config/git/credentials", "urls", ()),
        (rf"{_HOME}/\.config/(?:gh|hub)/hosts\.yml|{_HOME}/\.config/hub", "text", GITHUB),
        (rf"{_HOME}/\.config/glab-cli/config\.yml", "text", ("gitlab.com",)),
        (rf"{_HOME}/\.(?:codex|claude|gemini|openai|anthropic)/.*(?:auth|credential|token|key|oauth).*", "text", ()),
        (rf"{_HOME}/\.(?:huggingface|cache/huggingface)/(?:token|stored_tokens)", "whole", ("huggingface.co", "*.huggingface.co")),
        (rf"{_HOME}/\.(?:pgpass|my\.cnf|s3cfg|boto|vault-token|terraformrc|terraform\.d/credentials.*|dockercfg)", "text", ()),
        (rf"{_HOME}/\.(?:gnupg|password-store|local/share/keyrings)/.*", "opaque", ()),
        (r"/etc/(?:g?shadow-?|master\.passwd)", "shadow", ()),
        (r"/etc/(?:krb5\.keytab|sudoers)", "opaque", ()),
        (r"/proc/(?:self|\d+)/environ", "environ", ()),
        (r".*/(?:Cookies|Login Data|cookies\.sqlite|logins\.json|key[34]\.db|Web Data|Local State)(?:-wal|-journal)?", "opaque", ()),
        (rf"{_HOME}/\.(?:bitcoin|litecoin|dogecoin)/.*wallet.*|.*/wallet\.dat|{_HOME}/\.ethereum/keystore/.*", "opaque", ()),
        (rf"{_HOME}/\.config/(?:solana|sui|Exodus|Electrum|atomic)/.*|{_HOME}/\.electrum/wallets/.*", "opaque", ()),
        (r".*(?:\.key|\.pem|\.p12|\.pfx|\.jks|\.keystore|\.kdbx|\.ppk|/id_(?:rsa|dsa|ecdsa|ed25519)[\w-]*)", "text", ()),
        (r".*/(?:secrets?|credentials?)(?:\.(?:json|ya?ml|toml|ini|txt|env))?", "text", ()),
    )
)

# Names of variables whose values are secret, and those that only sound like it.
SECRET_NAME = re.compile(
    r"api[-_.]?key|access[-_.]?key|secret|token|passw(?:or)?d|passphrase|\bpass\b|_pass$|^pass$|credential|private[-_.]?key|client[-_.]?key|"
    r"auth$|_auth|authtoken|\bpat\b|_pat$|_key$|^key$|_dsn$|conn(?:ection)?[-_.]?str|webhook|cookie|session[-_.]?id|jwt|signing|encryption|mnemonic|seed",
    re.IGNORECASE,
)
NOT_SECRET_NAME = re.compile(
    r"public|key[-_.]?(?:id|name|path|file|version|type)$|(?:^|_)(?:max|min|num|n)?_?tokens?_?(?:limit|count|max|type|url|endpoint|uri|file|path)"
    r"|max_?tokens|token_?(?:url|uri|type)|secret_?(?:name|path|file|arn|version)|credential_?(?:file|process|source|helper)|auth_?(?:url|uri|"
    r"provider|type|sock)|ssh_auth_sock|session_?(?:manager|type|name|desktop|class|path)|xdg_|dbus|gpg_agent|_path$|_file$|_dir$|_url$"
    r"|author|keyboard|keymap|keepalive|certificate|tokenizer|_host$|_user$|_region$|passwd_?file|monkey",
    re.IGNORECASE,
)

# Whose a variable is, by the beginning of its name.
OWNERS_BY_NAME: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("OPENAI", ("api.openai.com", "*.openai.com", "*.openai.azure.com")),
    ("AZURE", AZURE),
    ("ANTHROPIC", ("api.anthropic.com", "*.anthropic.com")),
    ("CLAUDE", ("api.anthropic.com", "*.anthropic.com", "claude.ai")),
    ("GEMINI", GOOGLE),
    ("GOOGLE", GOOGLE),
    ("GCP", GOOGLE),
    ("GITHUB", GITHUB),
    ("GH_", GITHUB),
    ("GITLAB", ("gitlab.com", "*.gitlab.com")),
    ("AWS", AWS),
    ("NPM", NPM),
    ("NODE_AUTH", NPM),
    ("TWINE", PYPI),
    ("PYPI", PYPI),
    ("UV_PUBLISH", PYPI),
    ("HF_", ("huggingface.co", "*.huggingface.co")),
    ("HUGGING", ("huggingface.co", "*.huggingface.co")),
    ("MISTRAL", ("api.mistral.ai",)),
    ("GROQ", ("api.groq.com",)),
    ("DEEPSEEK", ("api.deepseek.com",)),
    ("COHERE", ("*.cohere.com", "*.cohere.ai")),
    ("OPENROUTER", ("openrouter.ai",)),
    ("PERPLEXITY", ("api.perplexity.ai",)),
    ("TOGETHER", ("api.together.xyz", "api.together.ai")),
    ("XAI", ("api.x.ai",)),
    ("SLACK", ("slack.com", "*.slack.com")),
    ("DISCORD", ("discord.com", "*.discord.com")),
    ("TELEGRAM", ("api.telegram.org",)),
    ("STRIPE", ("api.stripe.com",)),
    ("SENDGRID", ("api.sendgrid.com",)),
    ("TWILIO", ("*.twilio.com",)),
    ("CLOUDFLARE", ("api.cloudflare.com",)),
    ("DATADOG", ("*.datadoghq.com", "*.datadoghq.eu")),
    ("DD_", ("*.datadoghq.com", "*.datadoghq.eu")),
    ("SENTRY", ("sentry.io", "*.sentry.io")),
    ("TAVILY", ("api.tavily.com",)),
    ("SERPAPI", ("serpapi.com",)),
    ("BRAVE", ("api.search.brave.com",)),
    ("LANGCHAIN", ("*.langchain.com",)),
    ("LANGSMITH", ("*.langchain.com",)),
    ("WANDB", ("api.wandb.ai", "*.wandb.ai")),
    ("DOCKER", ("*.docker.io", "*.docker.com")),
    ("VAULT", ()),
)

# Beginnings of names that say nothing of a service.
_GENERIC = (
    "access admin application auth backend bearer client company config credential custom database default deploy encryption frontend",
    "internal jwt login master mysql postgres private prod production redis root secret server service session signing staging test",
    "token user",
)
GENERIC_NAMES = frozenset(" ".join(_GENERIC).split())

# (what it is, anchor that is looked for first, the form, length of its constant beginning, owners)
TOKENS: tuple[tuple[str, bytes, re.Pattern[bytes], int, tuple[str, ...]], ...] = tuple(
    (what, anchor, re.compile(form), prefix, owners)
    for what, anchor, form, prefix, owners in (
        ("AWS access key id", b"AKIA", rb"(?<![A-Z0-9])AKIA[A-Z2-7]{16}(?![A-Z0-9])", 4, AWS),
        ("AWS session key id", b"ASIA", rb"(?<![A-Z0-9])ASIA[A-Z2-7]{16}(?![A-Z0-9])", 4, AWS),
        ("GitHub token", b"ghp_", rb"ghp_[A-Za-z0-9]{36,255}", 4, GITHUB),
        ("GitHub token", b"gho_", rb"gho_[A-Za-z0-9]{36,255}", 4, GITHUB),
        ("GitHub token", b"ghs_", rb"ghs_[A-Za-z0-9]{36,255}", 4, GITHUB),
        ("GitHub token", b"ghu_", rb"ghu_[A-Za-z0-9]{36,255}", 4, GITHUB),
        ("GitHub token", b"github_pat_", rb"github_pat_[A-Za-z0-9_]{40,255}", 11, GITHUB),
        ("GitLab token", b"glpat-", rb"glpat-[A-Za-z0-9_-]{20,}", 6, ("gitlab.com", "*.gitlab.com")),
        ("Anthropic key", b"sk-ant-", rb"sk-ant-[a-z0-9]+-[A-Za-z0-9_-]{32,}", 13, ("api.anthropic.com", "*.anthropic.com")),
        (
            "OpenAI key",
            b"sk-",
            rb"(?<![A-Za-z0-9_-])sk-(?!ant-)(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}",
            3,
            ("api.openai.com", "*.openai.com"),
        ),
        ("Stripe key", b"k_live_", rb"[sr]k_live_[A-Za-z0-9]{16,}", 8, ("api.stripe.com",)),
        ("Slack token", b"xox", rb"xox[abeoprs]-[A-Za-z0-9-]{16,}", 5, ("slack.com", "*.slack.com")),
        ("Hugging Face token", b"hf_", rb"(?<![A-Za-z0-9_])hf_[A-Za-z0-9]{30,}", 3, ("huggingface.co", "*.huggingface.co")),
        ("npm token", b"npm_", rb"(?<![A-Za-z0-9_])npm_[A-Za-z0-9]{36}", 4, NPM),
        ("PyPI token", b"pypi-", rb"pypi-[A-Za-z0-9_-]{50,}", 5, PYPI),
        ("Google API key", b"AIza", rb"AIza[A-Za-z0-9_-]{35}", 4, GOOGLE),
        ("Google access token", b"ya29.", rb"ya29\.[A-Za-z0-9_.-]{20,}", 5, GOOGLE),
        ("JSON web token", b"eyJ", rb"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}", 3, ()),
    )
)

METADATA_HOSTS = frozenset(
    {"169.254.169.254", "fd00:ec2::254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "metadata.google.internal", "metadata"}
)
METADATA_OWNERS = (*AWS, *GOOGLE, *AZURE, *sorted(METADATA_HOSTS), "*.aliyuncs.com")

PLACEHOLDER = re.compile(
    rb"(?i)change[-_ ]?me|your[-_ ]?\w*[-_ ]?(?:key|token|secret|password|here)|(?:api|my)[-_]?key[-_]?here|<[^>]*>|\$\{[^}]*\}|\{\{.*\}\}|"
    rb"^(?:sk|pk|ghp|npm|hf|glpat)?[-_]?(?:x{4,}|\*{4,}|\.{3,}|0{6,}|1234567\w*)|x{8,}|\*{6,}|example|placeholder|dummy|redacted|insert|todo|"
    rb"^(?:true|false|none|null|undefined|disabled|enabled|default|localhost|password\d{0,4}|secret|postgres|development|production)$"
)

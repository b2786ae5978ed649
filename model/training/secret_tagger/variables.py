"""Names of variables that say what they hold; knows no values."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

VARIABLES: dict[str, tuple[str, ...]] = {
    "KEY": (
        *("api key", "api key", "apikey", "secret key", "access token", "auth token", "token"),
        *("client secret", "app secret", "private token", "signing key", "encryption key"),
        *("webhook secret", "session token", "bearer token", "license key", "consumer key"),
        *("secret", "jwt secret", "master key", "access key", "storage key", "bot token", "key"),
        *("deploy token", "refresh token", "api secret", "cookie secret", "hmac key", "api token"),
        *("secret access key", "account key", "token secret", "private key", "secret token"),
    ),
    "PASSWORD": (
        *("password", "password", "passwd", "pwd", "pass", "db password", "user password"),
        *("admin password", "root password", "smtp password", "passphrase", "database password"),
        *("redis password", "login password", "default password", "mysql pwd", "ftp pass"),
    ),
    "USERNAME": (
        *("username", "user", "user name", "login", "db user", "owner", "assignee", "account"),
        *("smtp user", "ssh user", "created by", "uid", "github user", "screen name", "reviewer"),
    ),
    "IP_ADDRESS": (
        *("host", "ip", "ip address", "server", "db host", "addr", "address", "remote addr"),
        *("gateway", "nameserver", "dns", "client ip", "bind", "endpoint", "proxy", "peer"),
    ),
    "EMAIL": (
        *("email", "mail", "contact", "from", "to", "sender", "recipient", "admin email"),
        *("author email", "reply to", "support email", "email address", "user email"),
    ),
    "NAME": (
        *("name", "full name", "author", "maintainer", "display name", "customer", "contact name"),
        *("owner", "employee", "reviewer", "created by", "patient", "recipient name", "user"),
    ),
    "hash": (
        *("sha256", "checksum", "digest", "commit", "revision", "etag", "md5", "build id", "id"),
        *("request id", "trace id", "file hash", "integrity", "fingerprint", "content hash"),
        *("node id", "image digest", "expected", "hexdigest", "git sha", "sha1", "guid", "rev"),
        *("object id", "tenant id", "subscription id", "run id", "public key", "version hash"),
    ),
    "version": (
        *("version", "min version", "release", "tag", "python version", "image tag", "build"),
        *("api version", "firmware", "app version", "target", "schema version", "engine version"),
    ),
    "word": (
        *("name", "mode", "cache key", "primary key", "sort key", "token type", "password field"),
        *("key", "label", "title", "key name", "user agent", "secret name", "host name", "kind"),
    ),
}
_PREFIXES = (
    *(
        "",
        "",
        "",
        "",
        "",
        "my ",
        "prod ",
        "test ",
        "default ",
        "aws ",
        "stripe ",
        "github ",
        "slack ",
    ),
    *("openai ", "azure ", "internal ", "backup ", "admin ", "service ", "x ", "app ", "main "),
)


def variable(kind: str, generator: Random) -> str:
    """A name for a value of a kind, in one of the usual spellings."""
    words = (generator.choice(_PREFIXES) + generator.choice(VARIABLES[kind])).split()
    capitals = [word.title() for word in words]
    spellings = [
        *("_".join(words), "_".join(words), "_".join(words).upper(), "_".join(words).upper()),
        *(words[0] + "".join(capitals[1:]), "-".join(words), "".join(capitals), ".".join(words)),
    ]
    return generator.choice(spellings[: 5 if len(words) == 1 else 8])

"""Values that everybody writes where a secret or a name belongs, and that are none."""

import re

_USERS = frozenset(
    [
        "admin",
        "administrator",
        "root",
        "user",
        "users",
        "username",
        "user_name",
        "guest",
        "test",
        "tester",
        "testuser",
        "nobody",
        "me",
        "you",
        "default",
        "app",
        "www-data",
        "deploy",
        "deployer",
        "postgres",
        "mysql",
        "mongo",
        "redis",
        "oracle",
        "ubuntu",
        "debian",
        "centos",
        "ec2-user",
        "vagrant",
        "runner",
        "jovyan",
        "node",
        "git",
        "builder",
        "build",
        "jenkins",
        "docker",
        "foo",
        "bar",
        "baz",
        "name",
        "login",
        "your_username",
        "your-username",
        "myuser",
        "demo",
        "example",
        "owner",
        "anonymous",
        "public",
        "shared",
        "sa",
        "system",
        "service",
        "ok",
        "failed",
        "failure",
        "success",
        "successful",
        "denied",
        "error",
        "invalid",
        "none",
        "null",
        "true",
        "false",
        "password",
        "token",
        "x-access-token",
        "x-oauth-basic",
        "oauth2",
        "api",
        "key",
        "self",
        "linuxbrew",
        "travis",
        "circleci",
    ]
)
_PASSWORDS = frozenset(
    [
        "password",
        "passwd",
        "pass",
        "pwd",
        "secret",
        "changeme",
        "change_me",
        "admin",
        "test",
        "foo",
        "bar",
        "example",
        "none",
        "null",
        "true",
        "false",
        "wrong",
        "invalid",
        "mysecret",
        "placeholder",
        "postgres",
        "redacted",
        "hunter",
        "token",
        "key",
        "string",
        "str",
        "text",
        "todo",
        "dummy",
        "fake",
        "mypassword",
        "my_password",
        "your-password",
        "your_password",
        "your_password_here",
        "required",
        "optional",
        "hidden",
        "masked",
        "unset",
        "empty",
        "yes",
        "no",
        "on",
        "off",
        "root",
        "guest",
        "user",
        "username",
    ]
)
_PLACEHOLDER = re.compile(
    r"[<\[({].*[>\])}]|%(?:\(.*|\w+%|s)|\$(?:[{(].*|[A-Za-z_]\w*)|.*\.\.\.|(?i:x{3,}|\*{2,}|#{3,}|0{6,}|your[_-].*|my[_-].*|insert[_-].*"
    r"|replace[_-]?.*|.*example.*|.*placeholder.*|.*changeme.*|.*dummy.*|.*redacted.*|test[_-].*"
    r"|fake[_-].*|sample.*|(?:a|the)(?:%20|[ _+-])?secret)"
)
_PUBLIC = re.compile(
    r"pk_(?:test|live)_|ssh-(?:rsa|ed25519|dss)|ecdsa-|AAAA[BCE]3Nz|sha\d*[-:=]|MII[BCDE]"
)
_ESCAPED = re.compile(r"(?i)x{6}|\*{4}|(.)\1{7}|1234567890|abcdefgh")


def is_stock_user(text: str) -> bool:
    """Whether a user name is one of a role, a system or an example."""
    return text.lower() in _USERS or _PLACEHOLDER.fullmatch(text) is not None


def is_stock_secret(text: str) -> bool:
    """Whether a key or password is an example, a placeholder, or meant to be public."""
    if text.lower() in _PASSWORDS or _PLACEHOLDER.fullmatch(text) is not None:
        return True
    return _PUBLIC.match(text) is not None or _ESCAPED.search(text) is not None

"""Who may do what: users, tokens, and the sentences of 401 and 403."""

from __future__ import annotations

import base64
import binascii
import secrets
from dataclasses import dataclass, field

from cube_contract.wire import RefusedError, Request, detail

CHALLENGE = {"WWW-Authenticate": "Token"}


@dataclass(frozen=True, slots=True)
class User:
    """`reads_pacs`: in group pacs_users, which sees what is registered."""

    name: str
    password: str
    reads_pacs: bool = True
    superuser: bool = False


CHRIS = User("chris", "chris1234", superuser=True)
USERS = (
    CHRIS,
    User("member", "member1234"),
    User("outsider", "outsider1234", reads_pacs=False),
    User("boss", "boss1234", superuser=True),
)


@dataclass(slots=True)
class Access:
    """Users and their tokens.  `expire_after` n: the n-th request by token still passes, the next finds it unknown."""

    users: dict[str, User] = field(default_factory=lambda: {user.name: user for user in USERS})
    tokens: dict[str, str] = field(default_factory=dict)
    expire_after: int | None = None

    def user_of(self, request: Request) -> User | None:
        """Who asks; None without credentials.  RefusedError with 401 for wrong ones, whatever the URL."""
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "token":
            return self._by_token(value.strip())
        if scheme.lower() == "basic":
            return self._by_password(value.strip())
        return None

    def _by_token(self, token: str) -> User:
        if self.expire_after is not None:
            if self.expire_after == 0:
                self.tokens.clear()
                self.expire_after = None
            else:
                self.expire_after -= 1
        if token not in self.tokens:
            raise detail(401, "Invalid token.", CHALLENGE)
        return self.users[self.tokens[token]]

    def _by_password(self, value: str) -> User:
        try:
            name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise detail(401, "Invalid basic header. Credentials not correctly base64 encoded.", CHALLENGE) from error
        user = self.users.get(name)
        if user is None or user.password != password:
            raise detail(401, "Invalid username/password.", CHALLENGE)
        return user

    def require(self, user: User | None, method: str, *, pacs_only: bool) -> None:
        """Refuse who may not: `chris` alone writes; readers are everybody or, with `pacs_only`, pacs_users."""
        if user is None:
            raise detail(401, "Authentication credentials were not provided.", CHALLENGE)
        may_read = method == "GET" and (user.reads_pacs or not pacs_only)
        if user.name != CHRIS.name and not may_read:
            raise detail(403, "You do not have permission to perform this action.")

    def token_for(self, name: object, password: object) -> str:
        """The user's token, the same each time while it lives."""
        user = self.users.get(str(name))
        if user is None or user.password != password:
            raise RefusedError(400, {"non_field_errors": ["Unable to log in with provided credentials."]})
        for token, owner in self.tokens.items():
            if owner == user.name:
                return token
        token = secrets.token_hex(20)
        self.tokens[token] = user.name
        return token

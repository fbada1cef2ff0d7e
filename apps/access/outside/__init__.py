"""People for whom somebody else vouches: an identity provider (OpenID Connect, SAML), a directory (LDAP), a trusted proxy.

`accounts.admit` is the one place where such a person gets an account and roles; `providers`, `directory` and `proxy` are the three
ways that lead to it. All are off until their settings (`config.signin`) are given.
"""

"""Who may do what, with which secrets: users, roles, tokens, audit trail, connections, variables.

The lowest app: every other app asks it, it asks nobody.
"""

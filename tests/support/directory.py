"""A small LDAP server for tests, as a program: `python directory.py LDIF` prints its port and serves until it is ended. By ldaptor."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from typing import Any

from ldaptor.inmemory import fromLDIFFile
from ldaptor.interfaces import IConnectedLDAPEntry
from ldaptor.protocols.ldap.ldapserver import LDAPServer
from twisted.internet import reactor
from twisted.internet.protocol import ServerFactory
from twisted.python.components import registerAdapter


class Factory(ServerFactory):
    protocol = LDAPServer

    def __init__(self, root: Any) -> None:
        self.root = root


def main() -> None:
    def serve(tree: Any) -> None:
        registerAdapter(lambda factory: factory.root, Factory, IConnectedLDAPEntry)
        port = reactor.listenTCP(0, Factory(tree), interface="127.0.0.1")  # type: ignore[attr-defined]
        print(port.getHost().port, flush=True)

    fromLDIFFile(BytesIO(Path(sys.argv[1]).read_bytes())).addCallback(serve)
    reactor.run()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()

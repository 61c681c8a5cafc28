"""The PACS API of CUBE as a server for tests, made from CUBE's own description and from how its releases behave.

It keeps rows in memory and looks into a real store; it imports nothing of pypx.
"""

from cube_contract.access import CHRIS, USERS
from cube_contract.cube import Cube
from cube_contract.items import Dialect
from cube_contract.server import CubeServer
from cube_contract.stores import FolderStore, ListingStore, StorageError, SwiftStore

__all__ = [
    "CHRIS",
    "USERS",
    "Cube",
    "CubeServer",
    "Dialect",
    "FolderStore",
    "ListingStore",
    "StorageError",
    "SwiftStore",
]

"""The BASEMOUNT: a database of plain files."""

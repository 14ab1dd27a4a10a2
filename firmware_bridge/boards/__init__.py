"""Boards that do not speak PROTOCOL.md, and the one that does, behind one interface: bytes in, packets out."""

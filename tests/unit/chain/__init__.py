"""The chain room: headers, proofs, servers that lie."""

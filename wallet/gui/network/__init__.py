"""The picture of the public network."""

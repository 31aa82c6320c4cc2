"""A thin, typed, immutable face over libwally and libsecp256k1."""

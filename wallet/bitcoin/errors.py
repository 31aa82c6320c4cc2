"""The three errors that everything above this package shares.

DecodeError     bytes or text from outside do not mean what they should; the message is a sentence for people
InvariantError  something that cannot happen did; whatever it concerns is frozen, nothing is signed or sent
APIError        the caller asked for something senseless; the message is a sentence
"""


class DecodeError(ValueError):
    """Input from a peer, a server, a file or a person cannot be decoded. Decoders raise only this."""


class InvariantError(RuntimeError):
    """A condition that the code relies on does not hold. It is a defect of ours, never a peer's mistake."""


class APIError(ValueError):
    """A caller misused an interface; nothing was changed."""

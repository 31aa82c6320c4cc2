# Many signature checks with the interpreter's lock released once: compiled only; `curve.py` does without it.
#
# libsecp256k1 is called by the addresses that `curve.py` tells: nothing is linked.

from libc.stdint cimport uintptr_t
from libc.string cimport memcmp, memcpy

ctypedef int (*parse_pubkey)(const void*, unsigned char*, const unsigned char*, size_t) noexcept nogil
ctypedef int (*parse_compact)(const void*, unsigned char*, const unsigned char*) noexcept nogil
ctypedef int (*verify)(const void*, const unsigned char*, const unsigned char*, const unsigned char*) noexcept nogil

cdef enum:
    CHECK_LENGTH = 129  # signature 64, digest 32, key 33
    ENTRY_LENGTH = 97   # key 33, the library's form of it 64


def verify_checks(
    uintptr_t context,
    uintptr_t pubkey_parse,
    uintptr_t compact_parse,
    uintptr_t ecdsa_verify,
    const unsigned char[::1] checks,
    unsigned char[::1] cache,
    unsigned char[::1] verdicts,
):
    """Fill `verdicts` with 1 for each check that is good and 0 for the others. `cache` is one thread's own."""
    cdef size_t count = verdicts.shape[0]
    cdef size_t slots = cache.shape[0] // ENTRY_LENGTH
    cdef size_t index, slot
    cdef const unsigned char* check
    cdef const unsigned char* key
    cdef unsigned char* entry
    cdef unsigned char signature[64]
    if checks.shape[0] != count * CHECK_LENGTH or slots == 0:
        raise ValueError("the checks and their verdicts are not of one length, or there is no cache")
    if count == 0:
        return
    with nogil:
        for index in range(count):
            check = &checks[index * CHECK_LENGTH]
            key = check + 96
            slot = (<size_t>key[29] << 24 | <size_t>key[30] << 16 | <size_t>key[31] << 8 | key[32]) % slots
            entry = &cache[slot * ENTRY_LENGTH]
            verdicts[index] = 0
            # No key begins with a zero, so an empty entry matches none that parses.
            if memcmp(entry, key, 33) != 0 or key[0] == 0:
                entry[0] = 0
                if not (<parse_pubkey>pubkey_parse)(<const void*>context, entry + 33, key, 33):
                    continue
                memcpy(entry, key, 33)
            if not (<parse_compact>compact_parse)(<const void*>context, signature, check):
                continue
            if (<verify>ecdsa_verify)(<const void*>context, signature, check + 64, entry + 33):
                verdicts[index] = 1

# C types for the compiled form of pathfinding.py; it is read by the compiler only.
cimport cython

cdef bint _COMPILED
cdef int LIKELY, CHEAP, QUICK
cdef int OBSTACLE_FEE, OBSTACLE_CLTV, OBSTACLE_LENGTH, OBSTACLE_CAPACITY
cdef int EDGE_LENGTH, LABEL_LENGTH
cdef long long MAX_CAPACITY_MSAT, NO_NUMBER, _HALVING
cdef int[::1] _NEGATIVE_LOG10

@cython.locals(halvings=cython.longlong)
cdef long long negative_log10_times_2048(long long numerator, long long denominator) noexcept

@cython.locals(
    directions=cython.longlong, node=cython.longlong, number=cython.longlong, channel=cython.longlong,
    source=cython.longlong, target=cython.longlong, count=cython.longlong, here=cython.longlong,
    dead=cython.int, is_dead=cython.bint, place=cython.longlong, record=cython.longlong,
    maximum_msat="unsigned long long", minimum_msat="unsigned long long", capacity=cython.longlong,
)
cpdef long long lay_out(
    long long node_count,
    unsigned int[::1] channel_node_1,
    unsigned int[::1] channel_node_2,
    unsigned char[::1] channel_blocked,
    unsigned char[::1] node_blocked,
    unsigned char[::1] direction_flags,
    unsigned short[::1] cltv_expiry_delta,
    unsigned long long[::1] htlc_minimum_msat,
    unsigned long long[::1] htlc_maximum_msat,
    unsigned int[::1] fee_base_msat,
    unsigned int[::1] fee_proportional_millionths,
    long long[::1] capacity_sat,
    int[::1] starts,
    int[::1] ends,
    int[::1] sole,
    int[::1] position,
    int[::1] borders,
    long long[::1] edges,
)


@cython.final
cdef class PathFinder:
    cdef public int[::1] starts, ends, extra_first, extra_next, slots
    cdef public long long[::1] edges, labels, heap, used_msat, extra, liquidity, ceilings
    cdef public unsigned char[::1] skipped
    cdef public long long node_count, now_at, half_life_seconds, base_penalty_msat
    cdef public long long base_penalty_amount_multiplier_msat, liquidity_penalty_multiplier_msat
    cdef public long long liquidity_penalty_amount_multiplier_msat, considered_impossible_penalty_msat
    cdef public long long unchecked_penalty_msat, obstacles, minimum_msat, stamp
    cdef public object lookup
    cdef long long _us, _fee_limit_msat, _max_cltv_delta, _aim, _saturation
    cdef long long _cost, _amount_msat, _millions, _rest, _fee_msat, _cltv_here, _hops
    cdef long long _base_msat, _factor, _best, _waiting

    @cython.locals(
        labels="long long[::1]", extra_first="int[::1]", extra_next="int[::1]", stamp=cython.longlong,
        label=cython.longlong, cost=cython.longlong, node=cython.longlong, amount_msat=cython.longlong,
        index=cython.longlong,
    )
    cpdef bint search(
        self, long long us, long long payee, long long value_msat, long long final_cltv_delta,
        long long fee_limit_msat, long long max_cltv_delta, long long max_hops, long long aim,
        long long saturation,
    )

    @cython.locals(
        labels="long long[::1]", skipped="unsigned char[::1]", held_msat="long long[::1]",
        us=cython.longlong, open_stamp=cython.longlong, aim=cython.longlong, saturation=cython.longlong,
        cost_here=cython.longlong, amount_msat=cython.longlong, millions=cython.longlong, rest=cython.longlong,
        fee_here_msat=cython.longlong, fee_limit_msat=cython.longlong, cltv_here=cython.longlong,
        max_cltv=cython.longlong, record=cython.longlong, source=cython.longlong, label=cython.longlong,
        stamp=cython.longlong, number=cython.longlong, used_msat=cython.longlong,
        minimum_msat=cython.longlong, maximum_msat=cython.longlong, capacity_msat=cython.longlong,
        unchecked=cython.bint, rate=cython.longlong, fee_msat=cython.longlong, total_fee_msat=cython.longlong,
        cltv_delta=cython.longlong, cost=cython.longlong, known=cython.bint, closed=cython.int,
    )
    cdef int _relax(self, long long[::1] edges, long long first, long long end, list queue) except -1

    @cython.locals(ceilings="long long[::1]", place=cython.longlong)
    cdef bint _is_too_much(self, long long number, long long total_msat) noexcept

    @cython.locals(
        penalty_msat=cython.longlong, total_msat=cython.longlong, low_msat=cython.longlong,
        high_msat=cython.longlong, upper_msat=cython.longlong, slot=cython.longlong,
        elapsed_seconds=cython.longlong, log=cython.longlong,
    )
    cdef long long _penalty(
        self, long long number, long long amount_msat, long long used_msat, long long capacity_msat, bint unchecked
    )

    cpdef long long penalty_msat(
        self, long long number, long long amount_msat, long long used_msat, long long capacity_msat, bint unchecked
    )

    @cython.locals(halvings=cython.longlong, span=cython.longlong, left=cython.longlong)
    cdef long long _decayed(self, long long offset_msat, long long elapsed_seconds) noexcept

    @cython.locals(heap="long long[::1]", place=cython.longlong, parent=cython.longlong)
    cdef void _push(self, long long cost, long long node) noexcept

    @cython.locals(
        heap="long long[::1]", end=cython.longlong, cost=cython.longlong, node=cython.longlong,
        place=cython.longlong, child=cython.longlong, other=cython.longlong,
    )
    cdef void _pop(self) noexcept

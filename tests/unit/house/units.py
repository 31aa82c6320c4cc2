"""Checks units by names: `_sat` is not `_msat`, however much both are ints.

Theory of operation. Every expression has a set of units it may be, or none where nothing is known; only two
known, disjoint sets are a mistake. A name's unit is its longest suffix out of `SUFFIXES` (case does not
matter, so constants count); a call has the unit of the function's name; `a[i]` that of `a`, and
`record["x_sat"]` that of the key. Sums keep the unit, with three rules of nature: height + blocks is a
height, height - height a number of blocks, and the same for time and seconds. Multiplying by 1000 turns sat
into msat and seconds into ms, dividing back; any other factor keeps money money; everything else becomes
unknown. So the check can miss a mistake, but what it reports is one.

What is checked: `+`, `-`, comparisons, assignments (also augmented, annotated, tupled, `for` targets and
`:=`), keyword arguments, default values, keys of literal dictionaries, `min`/`max`, and what a function with
a unit in its name returns.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

Units = frozenset[str]
UNKNOWN: Units = frozenset()

# Longest first, so that no suffix hides a longer one that ends in it.
SUFFIXES = (
    "sat_per_kw", "sat_per_vb", "cltv_delta", "msat", "sat", "weight", "vbytes", "height", "blocks",
    "seconds", "ms", "at",
)  # fmt: skip

MONEY = frozenset({"sat", "msat"})
TIMES_1000 = {"sat": "msat", "seconds": "ms"}
DIVIDED_BY_1000 = {"msat": "sat", "ms": "seconds"}
# A point and the distances one may walk from it.
SPANS = {"height": frozenset({"blocks", "cltv_delta"}), "at": frozenset({"seconds"})}
# These keep the unit of what they are given.
SAME_UNIT_CALLS = frozenset({"abs", "int", "round", "next", "sorted", "reversed", "iter", "tuple", "list"})
# Verbs such as `block_at(...)` and `hash_by_height(...)` name an argument there, not what comes back.
NOT_RESULTS = ("_at", "_by_height", "_for_height", "_from_height", "_to_height", "_in_blocks")


@dataclass(frozen=True, slots=True)
class Finding:
    line: int
    text: str


def unit_of_name(name: str, *, pixels: bool = False) -> Units:
    """The unit that a name's suffix states; with `pixels` (the window) heights and weights are Qt's."""
    low = name.lower()
    # `vbytes_from_weight(...)` gives vbytes.
    low, _, source = low.partition("_from_")
    for suffix in SUFFIXES:
        if low.endswith("_" + suffix) or (source and low == suffix):
            # `sat_per_1000_weight` and the like are rates that have no suffix of their own.
            if "_per_" in low and "_per_" not in suffix:
                return UNKNOWN
            return UNKNOWN if pixels and suffix in {"height", "weight"} else frozenset({suffix})
    return UNKNOWN


def _compatible(a: Units, b: Units) -> bool:
    return not a or not b or bool(a & b)


def _meet(units: Sequence[Units]) -> Units:
    """What several values that must agree are: the narrowest known."""
    known = [u for u in units if u]
    out = known[0] if known else UNKNOWN
    for u in known[1:]:
        out = out & u or out
    return out


def _show(units: Units) -> str:
    return " or ".join(f"_{u}" for u in sorted(units))


@dataclass(slots=True)
class _Checker(ast.NodeVisitor):
    pixels: bool
    findings: list[Finding] = field(default_factory=list)
    _functions: list[Units] = field(default_factory=list)

    # -- the unit of an expression ----------------------------------------------------------------

    def name_unit(self, name: str) -> Units:
        return unit_of_name(name, pixels=self.pixels)

    def unit(self, node: ast.expr | None) -> Units:
        match node:
            case ast.Attribute(attr="at"):
                return frozenset({"at"})  # `now.at`, the wall clock handed in
            case ast.Name(id=name) | ast.Attribute(attr=name):
                return self.name_unit(name)
            case ast.Subscript(slice=ast.Constant(value=str(key))):
                return self.name_unit(key)
            case ast.Subscript(value=value) | ast.Starred(value=value) | ast.Await(value=value):
                return self.unit(value)
            case ast.NamedExpr(target=target, value=value):
                return self.unit(target) or self.unit(value)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                return self.unit(operand)
            case ast.IfExp(body=body, orelse=orelse):
                return _meet([self.unit(body), self.unit(orelse)])
            case ast.BoolOp(op=ast.Or(), values=values):
                return _meet([self.unit(v) for v in values])
            case ast.Call():
                return self._call_unit(node)
            case ast.BinOp():
                return self._binop_unit(node)
            case _:
                return UNKNOWN

    def _call_unit(self, node: ast.Call) -> Units:
        match node.func:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                pass
            case _:
                return UNKNOWN
        if isinstance(node.func, ast.Name):
            if name in SAME_UNIT_CALLS and len(node.args) == 1:
                return self._element_unit(node.args[0])
            if name in {"min", "max"}:
                return _meet([self._element_unit(arg) for arg in node.args])
            if name == "sum" and node.args:
                return self._element_unit(node.args[0])
        if name == "get" and node.args and isinstance(node.args[0], ast.Constant):
            key = node.args[0].value
            return self.name_unit(key) if isinstance(key, str) else UNKNOWN
        if name.lower().endswith(NOT_RESULTS):
            return UNKNOWN
        return self.name_unit(name)

    def _element_unit(self, node: ast.expr) -> Units:
        if isinstance(node, ast.GeneratorExp | ast.ListComp | ast.SetComp):
            return self.unit(node.elt)
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return _meet([self.unit(e) for e in node.elts])
        return self.unit(node)

    def _binop_unit(self, node: ast.BinOp) -> Units:
        left, right = self.unit(node.left), self.unit(node.right)
        if isinstance(node.op, ast.Add | ast.Sub):
            constant = isinstance(node.left, ast.Constant) or isinstance(node.right, ast.Constant)
            return self._sum_unit(node.op, left, right, constant)
        if isinstance(node.op, ast.Mult):
            if isinstance(node.left, ast.Constant):
                return self._scaled(right, node.left, TIMES_1000)
            if isinstance(node.right, ast.Constant):
                return self._scaled(left, node.right, TIMES_1000)
        if isinstance(node.op, ast.FloorDiv | ast.Div) and isinstance(node.right, ast.Constant):
            return self._scaled(left, node.right, DIVIDED_BY_1000)
        if isinstance(node.op, ast.Mod):
            return left & MONEY
        return UNKNOWN

    @staticmethod
    def _scaled(units: Units, factor: ast.Constant, table: dict[str, str]) -> Units:
        if factor.value == 1000:
            return frozenset(table[u] for u in units if u in table)
        return units & MONEY

    @staticmethod
    def _sum_unit(op: ast.operator, left: Units, right: Units, constant: bool) -> Units:
        for point, spans in SPANS.items():
            if isinstance(op, ast.Sub):
                if point in right:
                    return spans  # only a point less a point makes sense
                if point in left:
                    # What is subtracted may be a point of unknown name, unless it is written out.
                    return left if right or constant else left | spans
            elif point in left or point in right:
                return frozenset({point})
        if not left or not right:
            # `clock() + period_seconds` may be a point in time, if the unnamed side is one.
            for point, spans in SPANS.items():
                if (left | right) & spans and not constant and (right or isinstance(op, ast.Add)):
                    return left | right | {point}
        return _meet([left, right])

    # -- the checks -------------------------------------------------------------------------------

    def _report(self, node: ast.AST, what: str, left: Units, right: Units) -> None:
        self.findings.append(Finding(getattr(node, "lineno", 0), f"{what} {_show(left)} and {_show(right)}"))

    def _bind(self, target: ast.expr, value: ast.expr) -> None:
        """A value gets a name: the units must agree, element by element where both are tuples."""
        if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
            if not any(isinstance(e, ast.Starred) for e in [*target.elts, *value.elts]):
                for t, v in zip(target.elts, value.elts, strict=False):
                    self._bind(t, v)
                return
        wanted, given = self.unit(target), self.unit(value)
        if not _compatible(wanted, given):
            self._report(value, "assigns across", wanted, given)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Add | ast.Sub):
            left, right = self.unit(node.left), self.unit(node.right)
            self._check_sum(node, left, right)
        self.generic_visit(node)

    def _check_sum(self, node: ast.BinOp, left: Units, right: Units) -> None:
        word = "adds" if isinstance(node.op, ast.Add) else "subtracts"
        for point, spans in SPANS.items():
            if point in left and point in right:
                if isinstance(node.op, ast.Add):
                    self._report(node, "adds two points in time or chain:", left, right)
                return
            if point in left and right & spans:
                return
            if point in right and left & spans:
                if isinstance(node.op, ast.Sub):
                    self._report(node, "subtracts a point from a span:", left, right)
                return
        if not _compatible(left, right):
            self._report(node, word, left, right)

    def visit_Compare(self, node: ast.Compare) -> None:
        operands = [node.left, *node.comparators]
        for op, a, b in zip(node.ops, operands, operands[1:], strict=False):
            if isinstance(op, ast.In | ast.NotIn | ast.Is | ast.IsNot):
                continue
            if isinstance(a, ast.Tuple) and isinstance(b, ast.Tuple) and len(a.elts) == len(b.elts):
                pairs = list(zip(a.elts, b.elts, strict=True))
            else:
                pairs = [(a, b)]
            for x, y in pairs:
                if not _compatible(self.unit(x), self.unit(y)):
                    self._report(node, "compares", self.unit(x), self.unit(y))
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._bind(target, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._bind(node.target, node.value)
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._bind(node.target, node.value)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.op, ast.Add | ast.Sub):
            # `height += blocks` obeys the rules of a sum.
            as_sum = ast.copy_location(ast.BinOp(node.target, node.op, node.value), node)
            left, right = self.unit(node.target), self.unit(node.value)
            self._check_sum(as_sum, left, right)
            total = self._sum_unit(node.op, left, right, isinstance(node.value, ast.Constant))
            if not _compatible(left, total):
                self._report(node, "assigns across", left, total)
        self.generic_visit(node)

    def _check_loop(self, target: ast.expr, source: ast.expr) -> None:
        if isinstance(target, ast.Name) and not _compatible(self.unit(target), self._element_unit(source)):
            self._report(source, "walks", self.unit(target), self._element_unit(source))

    def visit_For(self, node: ast.For) -> None:
        self._check_loop(node.target, node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._check_loop(node.target, node.iter)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        for keyword in node.keywords:
            if keyword.arg is None:
                continue
            wanted, given = self.name_unit(keyword.arg), self.unit(keyword.value)
            if not _compatible(wanted, given):
                self._report(keyword.value, f"passes as {keyword.arg}:", wanted, given)
        if isinstance(node.func, ast.Name) and node.func.id in {"min", "max"}:
            units = [self._element_unit(arg) for arg in node.args]
            for i, a in enumerate(units):
                for b in units[i + 1 :]:
                    if not _compatible(a, b):
                        self._report(node, f"takes the {node.func.id} of", a, b)
        self.generic_visit(node)

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                wanted, given = self.name_unit(key.value), self.unit(value)
                if not _compatible(wanted, given):
                    self._report(value, f"files under {key.value!r}:", wanted, given)
        self.generic_visit(node)

    def _check_defaults(self, args: ast.arguments) -> None:
        positional = [*args.posonlyargs, *args.args]
        pairs: list[tuple[ast.arg, ast.expr | None]] = []
        if args.defaults:
            pairs += zip(positional[-len(args.defaults) :], args.defaults, strict=True)
        pairs += zip(args.kwonlyargs, args.kw_defaults, strict=True)
        for arg, default in pairs:
            if not _compatible(self.name_unit(arg.arg), self.unit(default)):
                self._report(arg, f"defaults {arg.arg} across", self.name_unit(arg.arg), self.unit(default))

    def _visit_function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._check_defaults(node.args)
        name = node.name.lower()
        self._functions.append(UNKNOWN if name.endswith(NOT_RESULTS) else self.name_unit(name))
        self.generic_visit(node)
        self._functions.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_function(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and self._functions:
            wanted, given = self._functions[-1], self.unit(node.value)
            if not _compatible(wanted, given):
                self._report(node, "returns across", wanted, given)
        self.generic_visit(node)


def check_source(source: str, *, pixels: bool = False) -> Iterator[Finding]:
    """The mistakes of one source text, in order of their lines."""
    checker = _Checker(pixels)
    checker.visit(ast.parse(source))
    yield from sorted(checker.findings, key=lambda f: f.line)

"""No amount, height or time is added to, compared with or passed as one of another unit."""

from __future__ import annotations

import pytest

from tests.unit.house import units, wall


def test_units_agree_everywhere() -> None:
    found = [
        f"{module}:{finding.line}: {finding.text}"
        for module, text, _ in wall.sources()
        for finding in units.check_source(text, pixels=wall.room_of(module) == "wallet.gui")
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("amount_msat", "msat"),
        ("amount_sat", "sat"),
        ("DUST_LIMIT_SAT", "sat"),
        ("feerate_sat_per_kw", "sat_per_kw"),
        ("feerate_sat_per_vb", "sat_per_vb"),
        ("commitment_weight", "weight"),
        ("size_vbytes", "vbytes"),
        ("best_height", "height"),
        ("to_self_delay_blocks", "blocks"),
        ("final_cltv_delta", "cltv_delta"),
        ("expiry_seconds", "seconds"),
        ("created_at", "at"),
        ("mono_ms", "ms"),
    ],
)
def test_suffixes(name: str, unit: str) -> None:
    assert units.unit_of_name(name) == {unit}


@pytest.mark.parametrize("name", ["amount", "msat", "params", "flat", "formats", "atoms", "heights"])
def test_names_without_a_unit(name: str) -> None:
    assert units.unit_of_name(name) == units.UNKNOWN


@pytest.mark.parametrize(
    "source",
    [
        "x = a_sat + b_msat",
        "x = a_sat - self.b_msat",
        "x = 1 + a_sat + b_msat",
        "x = a_sat * 2 + b_msat",
        "x = a_sat * 1000 + b_sat",
        "x = a_msat // 1000 - b_msat",
        "x = abs(a_sat) + b_msat",
        "x = -a_sat + b_msat",
        "x = (a_sat if yes else b_sat) + c_msat",
        "x = record['a_sat'] + b_msat",
        "x = record.get('a_sat') + b_msat",
        "x = fee_sat(weight) + b_msat",
        "x = sum(c.value_sat for c in coins) + b_msat",
        "x = feerate_sat_per_kw + feerate_sat_per_vb",
        "x = tx_weight + size_vbytes",
        "x = best_height + now_at",
        "x = best_height + expiry_seconds",
        "x = a_height + b_height",
        "x = delay_blocks - best_height",
        "x = created_at + updated_at",
        "x = created_at + timeout_ms",
        "a_sat < b_msat",
        "0 < a_sat <= self.limit_msat",
        "a_height == b_blocks",
        "(a_sat, n) < (b_msat, m)",
        "if a_height - b_height > timeout_seconds: pass",
        "x_sat = y_msat",
        "self.x_sat = y_msat",
        "x_sat: int = y_msat",
        "x_sat, n = y_msat, m",
        "x_sat += y_msat",
        "x_height -= y_height",
        "x_sat = y_sat * 1000",
        "x_msat = y_msat // 1000",
        "x_height = y_height - z_height",
        "x_blocks = y_height - 6",
        "due_at = period_seconds + 6",
        "x_height = delay_blocks - 1",
        "tx_weight = vbytes_from_weight(x)",
        "if (x_sat := y_msat): pass",
        "for a_sat in amounts_msat: pass",
        "x = [a_sat for a_sat in amounts_msat]",
        "pay(amount_msat=x_sat)",
        "replace(state, amount_msat=self.x_sat + y_sat)",
        "x = {'amount_msat': x_sat}",
        "x = min(a_sat, b_msat)",
        "x = max(0, a_sat, b_msat)",
        "def f(limit_sat=LIMIT_MSAT): ...",
        "def f(*, limit_sat=LIMIT_MSAT): ...",
        "def balance_sat(self):\n    return self.value_msat",
        "async def balance_sat(self):\n    return await self.value_msat()",
        "delay_blocks = final_cltv_delta",
    ],
)
def test_a_mixture_is_caught(source: str) -> None:
    assert list(units.check_source(source)), source


@pytest.mark.parametrize(
    "source",
    [
        "x = a_sat + b_sat + 1 + fee",
        "x_msat = a_sat * 1000",
        "x_msat = 1000 * a_sat + b_msat",
        "x_sat = a_msat // 1000",
        "x_sat = (a_msat + 999) // 1000",
        "x_sat = -(-a_msat // 1000)",
        "rest_msat = a_msat % 1000",
        "fee_sat = tx_weight * feerate_sat_per_kw // 1000",
        "fee_msat = base_msat + amount_msat * ppm // 1_000_000",
        "expiry_height = best_height + delta_blocks",
        "expiry_height = final_cltv_delta + best_height",
        "left_blocks = expiry_height - best_height",
        "if expiry_height - best_height < MIN_CLTV_DELTA: pass",
        "if expiry_height - best_height > MAX_BLOCKS: pass",
        "age_seconds = now.at - created_at",
        "expires_at = created_at + expiry_seconds",
        "left_seconds = expires_at - now_at",
        "left_seconds = expires_at - now.at",
        "left_seconds = expires_at - clock()",
        "start_at = expires_at - margin()",
        "due_at = clock() + period_seconds",
        "due_at = clock() - period_seconds",
        "left_seconds = margin() + period_seconds",
        "safe_height = max(best_height, min(limits) - MARGIN_BLOCKS)",
        "size_vbytes = vbytes_from_weight(tx_weight)",
        "fee_sat_per_kw = estimator.get_est_sat_per_1000_weight(target)",
        "timeout_ms = timeout_seconds * 1000",
        "best_height += 1",
        "best_height += new_blocks",
        "x = block_at(best_height) + 3",
        "n_sat = hash_by_height(best_height)",
        "if amount_msat in (a, b) or amount_msat is None: pass",
        "ratio = a_sat / b_msat",
        "pay(amount_msat=x_sat * 1000, note=y_sat)",
        "x = min(a_sat, b_sat, 5)",
        "x_sat = a_sat or 0",
        "def f(limit_sat=LIMIT_SAT, *, n=3): ...",
        "def block_at(height):\n    return best_height",
        "def balance_sat(self):\n    def inner_msat():\n        return x_msat\n    return y_sat",
        "a_sat, b_msat = c_sat, d_msat",
        "for a_sat in amounts_sat: pass",
    ],
)
def test_what_agrees_passes(source: str) -> None:
    assert list(units.check_source(source)) == [], source


def test_in_the_window_heights_are_pixels() -> None:
    source = "self.row_height = head_height + line_height"
    assert list(units.check_source(source))
    assert list(units.check_source(source, pixels=True)) == []
    assert list(units.check_source("x = a_sat + b_msat", pixels=True))


def test_a_finding_names_line_and_units() -> None:
    (finding,) = units.check_source("a = 1\nx = a_sat + b_msat\n")
    assert finding.line == 2
    assert finding.text == "adds _sat and _msat"

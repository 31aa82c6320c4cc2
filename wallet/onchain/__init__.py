"""The on-chain funds: keys, coins, coin selection, fee bumping, labels."""

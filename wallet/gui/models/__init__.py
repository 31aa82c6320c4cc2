"""Item models over the node's snapshots. They know no view, and change row by row: never by a reset."""

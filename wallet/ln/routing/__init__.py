"""The routing graph, the router and its scorer."""

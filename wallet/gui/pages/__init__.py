"""One module a page; each is imported when it is first shown."""

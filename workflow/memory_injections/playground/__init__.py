"""The playground: a page on this machine to try memories out on, with a map of all sites and a close look at one.

What the page shows is prepared without the web library, which only `page` and `serving` import.
"""

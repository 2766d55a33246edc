"""`trtmatte serve`: pictures over HTTP, and cameras matted in a browser."""

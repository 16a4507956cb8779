"""The page of a run: one HTML file that opens anywhere, without a server and without libraries."""

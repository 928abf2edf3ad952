"""One HTML file that shows an archive in a browser, without a server and without a network."""

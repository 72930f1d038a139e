"""What people touch: the command line, the web page, the report."""

"""What `try-compose` is made of. Nothing but Python's own library."""

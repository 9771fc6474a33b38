"""What happens in a tenant that a hunting query may look for, and what happens all the time."""

"""What a number of tenants needs: calls, collector, engine, room; and what will not hold."""

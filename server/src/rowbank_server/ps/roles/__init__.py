"""Which part a process plays for its shard, owner, standby or replica, and how it becomes another."""

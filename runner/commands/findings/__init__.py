"""What `doctor` finds, by what it looks at. Each finding is of the list of troubles, and has its remedy."""

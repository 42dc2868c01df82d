"""What the client knows of each of its sessions, and holds every receipt against."""

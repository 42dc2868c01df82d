"""What happens in a session, for those who watch it: events with a scope, so that one view's never touch another's."""

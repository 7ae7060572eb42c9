"""The staff's pages about people, in Django admin. They look, and they stop things, with a reason and an event each."""

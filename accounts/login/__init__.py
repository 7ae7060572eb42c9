"""Pages of the login and of the enrolment of both factors; known and trusted devices."""

__all__ = ["enrolment_views", "views"]

"""Pages of the login and of the enrolment of both factors; notices of new devices."""

__all__ = ["enrolment_views", "views"]

"""What of `accounts` stands in Django admin: customers and the audit trail. Factors, codes and notices have no page."""

from django.contrib import admin
from django.contrib.auth.models import Group

from accounts.models import AuditEvent, User
from accounts.staff.customers import CustomerAdmin
from accounts.staff.events import EventAdmin

admin.site.register(User, CustomerAdmin)
admin.site.register(AuditEvent, EventAdmin)
# SECURITY: roles are a migration's and given by `manage.py create_staff`: no page makes anybody more powerful.
if admin.site.is_registered(Group):
    admin.site.unregister(Group)

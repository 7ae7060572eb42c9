"""Registers customers, the audit trail, webhooks and SMS in Django admin. Factors, codes and notices have no page."""

from django.contrib import admin
from django.contrib.auth.models import Group

from accounts.models import AuditEvent, SmsDelivery, User, WebhookEndpoint
from accounts.staff.customers import CustomerAdmin
from accounts.staff.events import EventAdmin
from accounts.staff.sms_deliveries import SmsDeliveryAdmin
from accounts.staff.webhooks import WebhookAdmin

admin.site.register(User, CustomerAdmin)
admin.site.register(AuditEvent, EventAdmin)
admin.site.register(WebhookEndpoint, WebhookAdmin)
admin.site.register(SmsDelivery, SmsDeliveryAdmin)
# SECURITY: roles are created by a migration and assigned by `manage.py create_staff`: no page grants more rights.
if admin.site.is_registered(Group):
    admin.site.unregister(Group)

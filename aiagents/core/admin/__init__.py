"""What every list of the back office is made of. Knows no app: who acts is written down by the site (aiagents/admin_site.py)."""

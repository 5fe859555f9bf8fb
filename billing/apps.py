from django.apps import AppConfig
from django.db.backends.signals import connection_created


class BillingConfig(AppConfig):
    name = "billing"
    label = "billing"

    def ready(self) -> None:
        from accounts import hooks  # models are loaded only now
        from billing.budgets import budgets, user_months
        from billing.money import exact_sums

        connection_created.connect(exact_sums.register, dispatch_uid="billing.money.exact_sums")
        hooks.register(
            set_key_budget=budgets.set_key_budget,
            key_budgets=budgets.key_budgets,
            profile_budget=budgets.month_to_date,
            user_created=budgets.user_created,
            set_user_budget=user_months.set_user_budget,
            with_month=user_months.with_month,
        )

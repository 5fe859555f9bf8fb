"""`/api/v1/chat/…`, apart from what `aiagents/endpoints.py` lists; whole paths, included at the root."""

from django.urls import path
from rest_framework.routers import SimpleRouter

from chat.api import views

app_name = "chat"
router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("api/v1/chat/conversations", views.ConversationViewSet, basename="conversation")
urlpatterns = [
    *router.urls,
    path("api/v1/chat/messages/<uuid:id>/feedback", views.FeedbackView.as_view(), name="feedback"),
]

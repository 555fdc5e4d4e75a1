"""Celery's workers as role celery runs them, whatever the application is.

Everything but `beat` runs with the application's own Python, which has Celery.
"""

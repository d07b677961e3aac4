"""Verdicts and states for readers: text, JSON, JUnit, pictures. Nothing here judges or acts."""

"""Upstreams of s3prl as encoders of modalxai."""

modalxai_api = 1

"""Two claims, one command each: explanations that are right, at the price of predicting.

`tonebench` scores attributors on speech whose truth is planted; `speed` times them beside Captum,
SHAP and shapiq.
"""

"""What a predictor is worth: accuracy, AIQ, APGR, calibration."""

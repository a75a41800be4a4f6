"""Attribution methods compared with retraining."""

"""Attribution methods compared with retraining, ours and peers' on the same truth."""

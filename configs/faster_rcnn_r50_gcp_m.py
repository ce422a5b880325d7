_base_ = './detection/faster_rcnn_r50_gcp_m.py'

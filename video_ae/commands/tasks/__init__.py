"""What evaluate.py can do with a run, a module each, in the order of the report's sections."""

from importlib import import_module

for _module in (
    "predict",
    "rollout",
    "classify",
    "label",
    "probe",
    "map",
    "anomaly",
    "forecast",
    "encode",
    "retrieve",
    "features",
    "ood",
    "architecture",
    "export",
):
    import_module(f".{_module}", __name__)

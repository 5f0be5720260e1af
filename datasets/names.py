"""Names that flags, configs and loaders share."""

MOVING_MNIST = "moving-mnist"  # the data set that is read where no other is named
DATASETS = {  # and the modules that register them
    MOVING_MNIST: "moving_mnist",
    "moving-mnist-file": "frame_arrays",
    "array": "frame_arrays",
    "video-folder": "video_folder",
    "ucf101": "ucf101",
    "hmdb51": "hmdb51",
    "video-patches": "video_folder",
    "percepts": "percept_files",
    "sequences": "sequences",
}
DIGITS = ("optical", "mnist", "fashion-mnist", "kmnist")
DIGIT_LABELS = ("identity", "direction")
PATHS = ("data_dir", "annotation_path", "split_file")  # fields that say where something lies

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
NO_PERCEPTS, MOTION = "none", "motion"
EFFICIENTNET, VGG16, RESNET50 = "efficientnet-lite0", "vgg16", "resnet50"
PERCEPTS = [NO_PERCEPTS, MOTION, EFFICIENTNET, VGG16, RESNET50]  # instead of pixels; others register
DOWNLOADED = (VGG16, RESNET50)  # those whose weights torchvision fetches
STREAMS = {  # what an image network reads
    "rgb": "frames, standardised as the network was trained",
    "flow": "10 fields of DIS optical flow (medium), -20 to 20 pixels as 0 to 255; the first convolution has its"
    " filters averaged over colour and repeated (Wang et al. 2016)",
}
DIGITS = ("optical", "mnist", "fashion-mnist", "kmnist")
DIGIT_LABELS = ("identity", "direction")

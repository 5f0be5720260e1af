"""The estimator as a semi-supervised detector of TSB-AD (Liu and Paparrizos, NeurIPS 2024), called by its runner.

pip install TSB-AD
# in TSB_AD/model_wrapper.py:   from tsb_ad import run_LSTM_Autoencoder
#                               Semisupervise_AD_Pool += ["LSTM_Autoencoder"]
# in TSB_AD/HP_list.py:         Optimal_Uni_algo_HP_dict["LSTM_Autoencoder"] = {}, the same for Multi
python benchmarks/Run_Detector_U.py --AD_Name LSTM_Autoencoder     # theirs; this folder on PYTHONPATH
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from video_ae import SequenceAutoencoder

_DEFAULTS: dict[str, Any] = {"window": "auto", "stride": 4, "max_iter": 20, "random_state": 0}  # those of nab.py


def run_LSTM_Autoencoder(  # noqa: N802, the name that the runner looks for
    data_train: npt.NDArray[np.floating[Any]],
    data_test: npt.NDArray[np.floating[Any]],
    **parameters: Any,
) -> npt.NDArray[np.float64]:
    """Scores of the steps of `data_test`, (T,) from 0 to 1, higher where more anomalous. Data: (T,) or (T, features).

    parameters: the runner's HP, those of `SequenceAutoencoder`, beside those of benchmarks/nab.py.
    """
    model = SequenceAutoencoder(**_DEFAULTS | parameters).fit(data_train)
    errors = -model.score_steps(data_test).astype(np.float64)
    return (errors - errors.min()) / (np.ptp(errors) or 1.0)

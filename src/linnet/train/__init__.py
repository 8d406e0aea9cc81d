"""Training for real: the loop, and the parts that it is made of, which work alone too.

:class:`Trainer` is the way in, :func:`command` the command line of a program around it, and
:class:`HtmlReport` the page about a run. The trainer's step is :func:`make_train_step`, a plain
function; the keys of a run are those of :func:`stream_keys`; metrics are :class:`Mean`.
"""

from linnet.train.checkpointing import Checkpoints, Report, Saved
from linnet.train.command import command
from linnet.train.evaluation import evaluate, make_eval_step, make_forward, pad_batch, predict
from linnet.train.exporting import load_safetensors, save_safetensors
from linnet.train.feed import Feed, Position
from linnet.train.forward import Forward
from linnet.train.keys import stream_keys
from linnet.train.metrics import Averages, Mean
from linnet.train.precision import LossScale, Precision
from linnet.train.progress import Progress, make_progress
from linnet.train.report import Confusion, HtmlReport, Sample
from linnet.train.settings import Settings, setting
from linnet.train.state import RunState, build_optimizer, create_state, init_variables
from linnet.train.step import make_scanned_step, make_train_step
from linnet.train.stopping import Watch
from linnet.train.trainer import Trainer
from linnet.train.writers import (
    CsvWriter,
    JsonlWriter,
    MlflowWriter,
    TensorBoardWriter,
    WandbWriter,
    Writer,
)

__all__ = [
    'Averages',
    'Checkpoints',
    'Confusion',
    'CsvWriter',
    'Feed',
    'Forward',
    'HtmlReport',
    'JsonlWriter',
    'LossScale',
    'Mean',
    'MlflowWriter',
    'Position',
    'Precision',
    'Progress',
    'Report',
    'RunState',
    'Sample',
    'Saved',
    'Settings',
    'TensorBoardWriter',
    'Trainer',
    'WandbWriter',
    'Watch',
    'Writer',
    'build_optimizer',
    'command',
    'create_state',
    'evaluate',
    'init_variables',
    'load_safetensors',
    'make_eval_step',
    'make_forward',
    'make_progress',
    'make_scanned_step',
    'make_train_step',
    'pad_batch',
    'predict',
    'save_safetensors',
    'setting',
    'stream_keys',
]
